"""Private directories of runs, in memory; each belongs to its worker (`owned_directories`)."""

import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path

from service.model.errors import StartRefused
from service.store import owned_directories
from service.store.owned_directories import release

__all__ = ["abandoned", "check_memory", "make", "release"]

PREFIX = "takeover-private-"
MEMORY = Path("/dev/shm")  # noqa: S108 - each directory in it is made by mkdtemp
_UNUSABLE = (
    "{path} cannot be used by this user: {why}. Ansible and the private files of runs need it; mount a tmpfs there "
    "that every user may write to: mount -t tmpfs -o mode=1777 tmpfs {path}"
)
_TRIED = 64 * 1024  # bytes that must fit


def make() -> Path:
    """Make a new directory (0700) in memory, which this process owns until `release` or its own end."""
    return owned_directories.make(MEMORY, PREFIX)


def check_memory() -> None:
    """Raise StartRefused unless runs can work in memory: their directories and Ansible's semaphores are there."""
    try:
        directory = make()
        try:
            (directory / "file").write_bytes(b"0" * _TRIED)
            multiprocessing.get_context("fork").Lock()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            release(directory)
    except OSError as error:
        raise StartRefused(reason=_UNUSABLE.format(path=MEMORY, why=error.strerror or error)) from None


def abandoned() -> Iterator[Path]:
    """Yield every directory of this user whose worker is gone, one at a time; while it is handled, it has no other."""
    return owned_directories.abandoned(MEMORY, PREFIX)
