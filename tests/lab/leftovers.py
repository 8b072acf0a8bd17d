"""Directories of test sessions that outlive a crash: the next session removes what a dead one left."""

import contextlib
import fcntl
import json
import tempfile
from pathlib import Path
from types import TracebackType

from .lab import DIRECTORY_LABEL, Lab
from .podman import podman

_PREFIX = "test-"
_OWNER = "owner"


class SessionDirectory:
    """A new directory below `parent`, held by a file lock that ends with the process, however it ends."""

    def __init__(self, parent: Path, *, prefix: str) -> None:
        self._parent = parent
        self._prefix = prefix

    def __enter__(self) -> Path:
        self._parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._parent)
        directory = Path(tempfile.mkdtemp(prefix=self._prefix, dir=self._parent))
        self._owner = (directory / _OWNER).open("w")
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        return directory

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner.close()


def remove_leftovers(parent: Path) -> None:
    """Remove the labs of sessions whose process is gone, and those whose directory was deleted."""
    for owner in parent.glob(f"{_PREFIX}*/{_OWNER}"):
        with contextlib.suppress(BlockingIOError), owner.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Lab(owner.parent).close()
    for network in json.loads(podman("network", "ls", "--filter", f"label={DIRECTORY_LABEL}", "--format", "json")):
        directory = Path(network["labels"][DIRECTORY_LABEL])
        if not directory.exists():
            Lab(directory).close()
