"""A caller that signs its requests, and may do so with a clock that is wrong."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from service.access import request_signatures


class Signing(request_signatures.AccessKeyAuth):
    """Signs with an access key, `off` from the right time; a frozen `date` makes two equal requests the same."""

    def __init__(self, key: str, secret: str, *, off: timedelta = timedelta(), date: str | None = None) -> None:
        super().__init__(key, secret)
        self.off = off
        self.frozen = date

    def date(self) -> str:
        return self.frozen or format_datetime(datetime.now(UTC) + self.off, usegmt=True)
