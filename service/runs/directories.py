"""Private directories of runs on a tmpfs. Each belongs to its worker (`owned_directories`)."""

import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path

from service.model.errors import StartFailed
from service.store import owned_directories
from service.store.owned_directories import release

__all__ = ["abandoned", "check_tmpfs", "make", "release"]

PREFIX = "takeover-private-"
TMPFS = Path("/dev/shm")  # noqa: S108 - mkdtemp makes each directory in it
_UNUSABLE = (
    "{path} cannot be used by this user: {error}. Ansible and the private files of runs need it. Mount a tmpfs there "
    "that every user may write to: mount -t tmpfs -o mode=1777 tmpfs {path}"
)
_REQUIRED_SPACE = 64 * 1024  # bytes


def make() -> Path:
    """Make a new directory (0700) on the tmpfs, which this process owns until `release` or its own end."""
    return owned_directories.make(TMPFS, PREFIX)


def check_tmpfs() -> None:
    """Raise StartFailed unless the tmpfs is usable for the directories of runs and for Ansible's semaphores."""
    try:
        directory = make()
        try:
            (directory / "file").write_bytes(b"0" * _REQUIRED_SPACE)
            multiprocessing.get_context("fork").Lock()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            release(directory)
    except OSError as error:
        raise StartFailed(reason=_UNUSABLE.format(path=TMPFS, error=error.strerror or error)) from None


def abandoned() -> Iterator[Path]:
    """Yield each directory of this user whose worker has ended; this process owns it until the next one."""
    return owned_directories.abandoned(TMPFS, PREFIX)
