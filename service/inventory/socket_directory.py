"""Makes the directory for the fork server's socket, and removes those of killed processes.

multiprocessing removes its socket directory only at a regular exit. Here that directory is below another one that this
process owns by a file lock. The next process that starts a fork server removes directories without an owner.
"""

import shutil
import tempfile
import threading
from contextlib import suppress
from multiprocessing import util
from pathlib import Path

from service.store import owned_directories

PREFIX = "takeover-fork-"
TMPFS = Path("/dev/shm")  # noqa: S108 - mkdtemp makes each directory in it; the path of a socket must stay short

_lock = threading.Lock()
_made: list[Path] = []


def ensure() -> None:
    """Make the directory unless this process has one, and remove those of ended processes."""
    with _lock, suppress(OSError):  # on failure, multiprocessing makes its own directory
        if _made:
            return
        for path in owned_directories.abandoned(TMPFS, PREFIX):
            shutil.rmtree(path, ignore_errors=True)
        _made.append(owned_directories.make(TMPFS, PREFIX))
        # Must run after multiprocessing's own finalizer (priority -100), which removes the directory below.
        util.Finalize(None, shutil.rmtree, args=(_made[0], True), exitpriority=-200)
        before, tempfile.tempdir = tempfile.tempdir, str(_made[0])
        try:
            util.get_temp_dir()  # multiprocessing keeps it for the life of the process
        finally:
            tempfile.tempdir = before
