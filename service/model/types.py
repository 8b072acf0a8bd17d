"""Types that every room uses."""

from dataclasses import dataclass
from typing import Any, Literal

JSON = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page of a list: `number` from 1, and `size` elements per page."""

    number: int = 1
    size: int = 10


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of a list."""

    field: Literal["id", "name"] = "id"
    descending: bool = False


BY_ID = Order()
NEWEST_FIRST = Order(descending=True)
