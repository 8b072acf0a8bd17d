"""The named queries: each name exists once, and each is used."""

import re
from collections import Counter
from pathlib import Path

from service.store.sql import FOLDER, queries

SERVICE = Path(__file__).parents[2] / "service"


def named(kind: str) -> list[str]:
    """Return the names in all files after `-- kind: `."""
    pattern = re.compile(rf"^-- {kind}: (\w+)$", re.M)
    return [name for file in FOLDER.glob("*.sql") for name in pattern.findall(file.read_text(encoding="utf-8"))]


def test_each_name_stands_once() -> None:
    names = named("name")

    assert not [name for name, times in Counter(names + named("part")).items() if times > 1]
    assert set(names) == set(queries())


def test_each_part_is_included() -> None:
    assert set(named("part")) == set(named("include")) != set()
    assert not [name for name, text in queries().items() if "-- include" in text]


def test_each_query_is_used() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in SERVICE.rglob("*.py"))

    assert not [name for name in queries() if f'"{name}"' not in source]
