"""Formats values as in OCP's JSON documents."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, cast

from pydantic import WithJsonSchema

Timestamp = Annotated[str, WithJsonSchema({"format": "date-time", "type": "string"})]
"""A point in time as `timestamp` writes it."""

_TIME = len("2021-09-03T16:25:08.021")


def timestamp(moment: datetime) -> str:
    """Return the time in ISO 8601 with offset and 0 to 3 fraction digits, without trailing zeros."""
    written = moment.astimezone().isoformat(timespec="milliseconds")
    time, offset = written[:_TIME], written[_TIME:]
    return time.rstrip("0").rstrip(".") + ("Z" if offset == "+00:00" else offset)


def present[Document: Mapping[str, object]](document: Document) -> Document:
    """Return `document` without its properties that are None (docs/reference/ocp-api.md 1.2)."""
    return cast(Document, {name: value for name, value in document.items() if value is not None})


def in_order[Document: Mapping[str, object]](document: Document) -> Document:
    """Return `document` with its properties in alphabetical order."""
    return cast(Document, dict(sorted(document.items())))


def timestamp_or_none(moment: datetime | None) -> str | None:
    """Return the timestamp of `moment`, or None without one."""
    return timestamp(moment) if moment else None
