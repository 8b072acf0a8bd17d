"""A caller that signs its requests, as the vendor's clients do."""

import base64
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx

from service.signature import SCHEME, SignedRequest, sign, string_to_sign


class Signing(httpx.Auth):
    """Signs with an access key, `off` from the right time; a frozen `date` makes two equal requests the same."""

    requires_request_body = True

    def __init__(self, key: str, secret: str, *, off: timedelta = timedelta(), date: str | None = None) -> None:
        self.key = key
        self.secret = secret
        self.off = off
        self.date = date

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        date = self.date or format_datetime(datetime.now(UTC) + self.off, usegmt=True)
        request.headers["Date"] = date
        covered = SignedRequest(
            method=request.method,
            path=request.url.raw_path.partition(b"?")[0],
            query=request.url.query,
            headers=[(name.lower(), value) for name, value in request.headers.raw],
            body=request.content,
        )
        signature = base64.b64encode(sign(self.secret, string_to_sign(covered, date.encode()))).decode()
        request.headers["Authorization"] = f"{SCHEME} {self.key}:{signature}"
        yield request
