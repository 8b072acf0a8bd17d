"""Fixtures for tests of files that belong to another user."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOMEBODY: dict[str, Any] = {"uid": 65534, "gid": 65534, "groups": [65534]}


@pytest.fixture
def home() -> Iterator[Path]:
    """Yield a directory of another user, below directories that all users may pass, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        home = Path(directory) / "home"
        home.mkdir()
        if os.geteuid() == 0:
            os.chown(home, SOMEBODY["uid"], SOMEBODY["gid"])
        yield home
