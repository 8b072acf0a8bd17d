"""Temporary directories that belong to one process, and their removal after its end.

The owner holds an advisory lock on the directory. The kernel releases it at the end of the process, whatever the
process id, the pid namespace or the clock. Every user can write to the parent directory, so only directories of this
user are used, and symbolic links are not followed.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_owned: dict[Path, int] = {}  # directories of this process, each with the descriptor that holds its lock


def make(place: Path, prefix: str) -> Path:
    """Make a new directory (0700), which this process owns until `release` or its own end.

    Race: another process may remove it as abandoned before it is locked; then the next one is made.
    """
    while True:
        # The process id is for people only.
        path = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=place))
        with suppress(FileNotFoundError):
            descriptor = _open(path)
            if _try_to_lock(descriptor) and os.fstat(descriptor).st_nlink:
                _owned[path] = descriptor
                return path
            os.close(descriptor)


def release(path: Path) -> None:
    """Release the lock on a directory; then any process removes it as abandoned."""
    descriptor = _owned.pop(path, None)
    if descriptor is not None:
        os.close(descriptor)


def abandoned(place: Path, prefix: str) -> Iterator[Path]:
    """Yield each directory of this user whose owner is gone. It is locked while the caller handles it."""
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
    """Lock a directory for the length of the block; yield False for another user's, and for a locked one."""
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
