"""The directory with the fork server's socket, which no killed process leaves for ever.

multiprocessing makes a directory for the socket, and removes it at an orderly end only. Here it is below a directory
that belongs to this process by a lock. The next process that starts a fork server removes those of killed ones.
"""

import shutil
import tempfile
import threading
from contextlib import suppress
from multiprocessing import util
from pathlib import Path

from service.store import owned_directories

PREFIX = "takeover-fork-"
MEMORY = Path("/dev/shm")  # noqa: S108 - each directory in it is made by mkdtemp; the path of a socket must stay short

_lock = threading.Lock()
_made: list[Path] = []


def ensure() -> None:
    """Make the directory unless this process has it, and remove those of processes that are gone."""
    with _lock, suppress(OSError):  # without it, multiprocessing makes its own
        if _made:
            return
        for path in owned_directories.abandoned(MEMORY, PREFIX):
            shutil.rmtree(path, ignore_errors=True)
        _made.append(owned_directories.make(MEMORY, PREFIX))
        # After multiprocessing has removed its own directory below, at -100.
        util.Finalize(None, shutil.rmtree, args=(_made[0], True), exitpriority=-200)
        before, tempfile.tempdir = tempfile.tempdir, str(_made[0])
        try:
            util.get_temp_dir()  # made once for the life of the process
        finally:
            tempfile.tempdir = before
