"""A place in memory for the databases of tests.

PostgreSQL copies a database of 300 files for most tests, which costs four times as much CPU time on ext4.
"""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

PREFIX = "takeover-pg-"  # of the names of these directories
_MEMORY = Path("/dev/shm")
_NEEDED = 4 * 2**30  # bytes


def directory() -> TemporaryDirectory[str]:
    """Make a directory in memory, or where other temporary files are if that has not enough room."""
    has_room = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _NEEDED
    return TemporaryDirectory(prefix=PREFIX, dir=_MEMORY if has_room else None)
