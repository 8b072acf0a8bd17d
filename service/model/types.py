"""Types that every room uses."""

from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page of a list: `number` from 1, and `size` elements per page."""

    number: int = 1
    size: int = 10
