"""Reads YAML files with the loader in C, which takes a tenth of the time of the one in Python."""

from pathlib import Path
from typing import Any

import yaml


def load(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
