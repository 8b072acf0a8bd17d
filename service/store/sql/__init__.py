"""Loads the named queries of the *.sql files in this folder: `-- name: x` starts a query."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
MIGRATIONS = FOLDER / "migrations"


@cache
def queries() -> Mapping[str, str]:
    """Return every query by its name."""
    return {name: text for file in sorted(FOLDER.glob("*.sql")) for name, text in _named(file)}


def _named(file: Path) -> list[tuple[str, str]]:
    _, *parts = re.split(r"^-- name: (\w+)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [(name, text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)]
