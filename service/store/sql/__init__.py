"""The named queries of queries.sql: `-- name: x` starts one."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
MIGRATIONS = FOLDER / "migrations"


@cache
def queries() -> Mapping[str, str]:
    """Every query by its name."""
    _, *parts = re.split(r"^-- name: (\w+)\n", (FOLDER / "queries.sql").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
