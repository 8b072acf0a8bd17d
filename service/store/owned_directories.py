"""Temporary directories, and who owns them.

A directory belongs to the process that holds the advisory lock on it, for as long as that process lives, whatever its
process id, its pid namespace or the clock say. The directories are in a place that every user can write to, so only
those of this user are looked at, through descriptors that follow no link.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_owned: dict[Path, int] = {}  # this process's, each with the descriptor that holds its lock


def make(place: Path, prefix: str) -> Path:
    """Make a new directory (0700), which this process owns until `release` or its own end.

    A sweep of another process may take it before it is locked; then another one is made.
    """
    while True:
        # The process id is for people; nothing is decided by it.
        path = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=place))
        with suppress(FileNotFoundError):
            descriptor = _open(path)
            if _try_to_lock(descriptor) and os.fstat(descriptor).st_nlink:
                _owned[path] = descriptor
                return path
            os.close(descriptor)


def release(path: Path) -> None:
    """Give a directory up; the next sweep of any process removes what is left of it."""
    descriptor = _owned.pop(path, None)
    if descriptor is not None:
        os.close(descriptor)


def abandoned(place: Path, prefix: str) -> Iterator[Path]:
    """Yield every directory of this user whose owner is gone, one at a time; while it is handled, it has no other."""
    try:
        with os.scandir(place) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    except FileNotFoundError:
        return
    for name in names:
        path = place / name
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
