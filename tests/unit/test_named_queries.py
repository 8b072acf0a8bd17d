"""The named queries: each name exists once, and each is used."""

import re
from collections import Counter
from pathlib import Path

from service.store.sql import FOLDER, queries

SERVICE = Path(__file__).parents[2] / "service"


def test_each_name_stands_once() -> None:
    names = [name for file in FOLDER.glob("*.sql") for name in re.findall(r"^-- name: (\w+)$", file.read_text(), re.M)]

    assert not [name for name, times in Counter(names).items() if times > 1]
    assert set(names) == set(queries())


def test_each_query_is_used() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in SERVICE.rglob("*.py"))

    assert not [name for name in queries() if f'"{name}"' not in source]
