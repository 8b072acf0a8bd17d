"""Types that every room uses."""

from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list: `number` from 1, `size` elements a page."""

    number: int = 1
    size: int = 10
