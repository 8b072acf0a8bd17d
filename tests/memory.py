"""A place in memory for the databases of tests.

PostgreSQL copies a database of 300 files for most tests, which costs four times as much CPU time on ext4.
"""

import os
import shutil
from pathlib import Path

_MEMORY = Path("/dev/shm")
_NEEDED = 4 * 2**30  # bytes


def directory() -> Path | None:
    """Return a directory in memory with enough room; None = the usual directory for temporary files."""
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _NEEDED:
        return None
    return _MEMORY
