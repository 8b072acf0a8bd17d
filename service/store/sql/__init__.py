"""Loads the named queries of the *.sql files in this folder.

`-- name: x` starts a query, `-- part: x` a text that several queries share, and the line `-- include: x` stands for it.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
MIGRATIONS = FOLDER / "migrations"


@cache
def queries() -> Mapping[str, str]:
    """Return every query by its name."""
    return named([file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.sql"))])


def named(texts: Sequence[str]) -> dict[str, str]:
    """Return the queries of some files by their names."""
    parts = {name: part for text in texts for kind, name, part in _named(text) if kind == "part"}
    return {name: _complete(query, parts) for text in texts for kind, name, query in _named(text) if kind == "name"}


def _named(text: str) -> list[tuple[str, str, str]]:
    """Return the kind, name and text of each query and each part."""
    _, *found = re.split(r"^-- (name|part): (\w+)\n", text, flags=re.MULTILINE)
    return [(kind, name, text.strip()) for kind, name, text in zip(found[::3], found[1::3], found[2::3], strict=True)]


def _complete(query: str, parts: Mapping[str, str]) -> str:
    return re.sub(r"^-- include: (\w+)$", lambda found: parts[found[1]], query, flags=re.MULTILINE)
