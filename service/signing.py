"""Signing requests with an access key, as the vendor's clients do (facts/ocp-api.md 5.2)."""

import base64
from collections.abc import Generator
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx

from service.signature import SCHEME, SignedRequest, sign, string_to_sign


class Signing(httpx.Auth):
    """Signs each request with the secret of access key `key`."""

    requires_request_body = True

    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self.secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        date = self.date()
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

    def date(self) -> str:
        """What the Date header says."""
        return format_datetime(datetime.now(UTC), usegmt=True)
