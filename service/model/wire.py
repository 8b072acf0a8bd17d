"""Values as OCP writes them in its documents."""

from datetime import datetime

from service.model.types import JSON

_TIME = len("2021-09-03T16:25:08.021")


def timestamp(moment: datetime) -> str:
    """ISO 8601 with offset, 0 to 3 fraction digits, trailing zeros dropped."""
    written = moment.astimezone().isoformat(timespec="milliseconds")
    time, offset = written[:_TIME], written[_TIME:]
    return time.rstrip("0").rstrip(".") + ("Z" if offset == "+00:00" else offset)


def present(**properties: object) -> JSON:
    """An object without the properties that are not there (docs/reference/ocp-api.md 1.2)."""
    return {name: value for name, value in properties.items() if value is not None}


def timestamp_or_none(moment: datetime | None) -> str | None:
    """The same, of a moment that may not have come yet."""
    return timestamp(moment) if moment else None
