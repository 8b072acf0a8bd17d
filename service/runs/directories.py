"""Private directories of runs, and who owns them.

A directory belongs to the worker that holds the advisory lock on it, for as long as that process lives, whatever its
process id, its pid namespace or the clock say. The directories are in a place that every user can write to, so only
those of this user are looked at, through descriptors that follow no link.
"""

import fcntl
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.model.errors import StartRefused

PREFIX = "takeover-private-"
MEMORY = Path("/dev/shm")  # noqa: S108 - each directory in it is made by mkdtemp
_UNUSABLE = (
    "{path} cannot be used by this user: {why}. Ansible and the private files of runs need it; mount a tmpfs there "
    "that every user may write to: mount -t tmpfs -o mode=1777 tmpfs {path}"
)
_TRIED = 64 * 1024  # bytes that must fit


_owned: dict[Path, int] = {}  # this process's, each with the descriptor that holds its lock


def make() -> Path:
    """Make a new directory (0700) in memory, which this process owns until `release` or its own end.

    A sweep of another worker may take it before it is locked; then another one is made.
    """
    while True:
        # The process id is for people; nothing is decided by it.
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))
        with suppress(FileNotFoundError):
            descriptor = _open(path)
            if _try_to_lock(descriptor) and os.fstat(descriptor).st_nlink:
                _owned[path] = descriptor
                return path
            os.close(descriptor)


def release(path: Path) -> None:
    """Give a directory up; the next sweep of any worker removes what is left of it."""
    descriptor = _owned.pop(path, None)
    if descriptor is not None:
        os.close(descriptor)


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
    """Yield every directory of this user whose owner is gone, one at a time; while it is handled, it has no other."""
    try:
        with os.scandir(MEMORY) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
    except FileNotFoundError:
        return
    for name in names:
        path = MEMORY / name
        with _taken(path) as taken:
            if taken:
                yield path


@contextmanager
def _taken(path: Path) -> Iterator[bool]:
    """Own a directory for the length of the block, if it is this user's and nobody else owns it."""
    try:
        descriptor = _open(path)
    except OSError:  # gone meanwhile, a link, no directory, or another user's
        yield False
        return
    try:
        yield os.fstat(descriptor).st_uid == os.geteuid() and _try_to_lock(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
