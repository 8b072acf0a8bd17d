"""Detects edits of the files that an inventory consists of."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

VARIABLE_DIRECTORIES = ("group_vars", "host_vars")

FileStamp = tuple[str, int, int, int, int]  # path, inode, mtime (ns), ctime (ns), size (bytes)


def file_stamps(source: Path, beside: Iterable[Path]) -> list[FileStamp]:
    """Return the stamp of every file that Ansible reads. A different list means that a file was edited.

    `source` is the inventory, `beside` are further files and directories. Directories behind symbolic links are
    included, and group_vars and host_vars next to a file.
    """
    roots = [source, *beside]
    if not source.is_dir():
        roots += [source.parent / name for name in VARIABLE_DIRECTORIES]
    return sorted(entry for root in roots for entry in _walk(root, frozenset()))


def _walk(path: Path, above: frozenset[tuple[int, int]]) -> Iterator[FileStamp]:
    """Yield the stamps of `path` and all below it. `above` are the directories that a link must not enter again."""
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
    except OSError:  # Ansible cannot list it either
        return
    for entry in entries:
        yield from _walk(entry, above | {identity})
