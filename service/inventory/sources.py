"""The files that an inventory consists of, and how they stood."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

VARIABLES = ("group_vars", "host_vars")

Stamp = list[tuple[str, int, int, int, int]]


def stamped(source: Path, beside: Iterable[Path]) -> Stamp:
    """Return name, identity, times and size of every file that Ansible reads: another value means an edit.

    `source` is the inventory, `beside` are further files and directories. Directories behind symbolic links count, and
    so do group_vars and host_vars next to a file.
    """
    roots = [source, *beside]
    if not source.is_dir():
        roots += [source.parent / name for name in VARIABLES]
    return sorted(entry for root in roots for entry in _walk(root, frozenset()))


def _walk(path: Path, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int, int, int, int]]:
    """Return what is at a path and below; a link to a directory above is not followed again."""
    try:
        found = path.stat()
    except OSError:
        return
    yield str(path), found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
    identity = (found.st_dev, found.st_ino)
    if not stat.S_ISDIR(found.st_mode) or identity in above:
        return
    try:
        entries = list(path.iterdir())
    except OSError:  # Ansible cannot look into it either
        return
    for entry in entries:
        yield from _walk(entry, above | {identity})
