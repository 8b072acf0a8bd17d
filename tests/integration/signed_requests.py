"""Signs requests for httpx, optionally with a wrong clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from service.access import request_signatures


class Signing(request_signatures.AccessKeyAuth):
    """Signs with an access key; `off` shifts the clock, and a fixed `date` makes signatures of equal requests equal."""

    def __init__(self, key: str, secret: str, *, off: timedelta = timedelta(), date: str | None = None) -> None:
        super().__init__(key, secret)
        self.off = off
        self.frozen = date

    def date(self) -> str:
        return self.frozen or format_datetime(datetime.now(UTC) + self.off, usegmt=True)
