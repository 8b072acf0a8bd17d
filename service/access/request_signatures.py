"""Request signatures by OCP-ACCESS-KEY-HMACSHA1 (docs/reference/ocp-api.md 5.2), over the bytes as received.

The query may be encoded by RFC 3986 or by Java's URLEncoder, and the date may be in either of two headers. A signature
is valid when it matches one of these combinations.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from itertools import product
from urllib.parse import quote, quote_plus, unquote_to_bytes

import httpx

SCHEME = "OCP-ACCESS-KEY-HMACSHA1"
CLOCK_SKEW = timedelta(minutes=15)
OCP_HEADER_PREFIX = b"x-ocp-"
DATE_HEADERS = (b"date", b"x-ocp-date")

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as in an ASGI scope."""


@dataclass(frozen=True, kw_only=True)
class SignedRequest:
    """The parts of a request that are signed: `path` and `query` percent-encoded, `body` as received."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True, kw_only=True)
class VerifiedSignature:
    """A valid signature: its `digest`, and the time from which on it is rejected as too old."""

    digest: bytes
    expires: datetime


def sign(secret: str, message: bytes) -> bytes:
    """Return the HMAC-SHA1 of a string to sign; its base64 is the signature."""
    return hmac.digest(secret.encode(), message, "sha1")


def verify(request: SignedRequest, signature: str, secret: str, now: datetime) -> VerifiedSignature | None:
    """Return the verified signature; None when `secret` did not sign `request` within CLOCK_SKEW of `now`."""
    try:
        given = base64.b64decode(signature.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    for (moment, date), encode in product(list(_dates(request.headers)), (_encode_rfc_3986, _encode_java)):
        matches = hmac.compare_digest(sign(secret, string_to_sign(request, date, encode)), given)
        if matches and abs(now - moment) <= CLOCK_SKEW:
            return VerifiedSignature(digest=given, expires=moment + CLOCK_SKEW)
    return None


def string_to_sign(request: SignedRequest, date: bytes, encode: Callable[[bytes], str] | None = None) -> bytes:
    """Return the seven lines to sign; `encode` percent-encodes the names and values of the query."""
    lines = (
        request.method.upper().encode(),
        # OCP's format requires MD5. The security depends on the HMAC around it.
        hashlib.md5(request.body, usedforsecurity=False).hexdigest().upper().encode() if request.body else b"",
        _header(request.headers, b"content-type"),
        date,
        _header(request.headers, b"host"),
        _ocp_headers(request.headers),
        request.path + _canonical_query(request.query, encode or _encode_rfc_3986).encode(),
    )
    return b"\n".join(lines)


def _dates(headers: Headers) -> Iterator[tuple[datetime, bytes]]:
    for name in DATE_HEADERS:
        value = _header(headers, name)
        try:
            moment = parsedate_to_datetime(value.decode("ascii"))
            # A date without a time zone is ambiguous: it is not accepted.
            utc = moment.astimezone(UTC) if moment.tzinfo is not None else None
        except (ValueError, OverflowError):  # the first or the last hours of the calendar have no time in UTC
            continue
        if utc is not None:
            yield utc, value


def _header(headers: Headers, name: bytes) -> bytes:
    return b",".join(value for key, value in headers if key == name)


def _ocp_headers(headers: Headers) -> bytes:
    names = sorted({name for name, _ in headers if name.startswith(OCP_HEADER_PREFIX)})
    return b"\n".join(name + b":" + _header(headers, name) for name in names)


def _canonical_query(query: bytes, encode: Callable[[bytes], str]) -> str:
    """Return `?` and the parameters sorted by name; the values of a repeated one are sorted and joined by commas."""
    parameters: dict[bytes, list[bytes]] = {}
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            parameters.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    if not parameters:
        return ""
    pairs = ((name, b",".join(sorted(filter(None, values)))) for name, values in sorted(parameters.items()))
    return "?" + "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)


def _encode_rfc_3986(text: bytes) -> str:
    return quote(text, safe="")


def _encode_java(text: bytes) -> str:
    return quote_plus(text, safe="*").replace("~", "%7E")


class AccessKeyAuth(httpx.Auth):
    """Signs each request with the secret of access key `key`."""

    requires_request_body = True

    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self.secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        date = self.date()
        request.headers["Date"] = date
        signed = SignedRequest(
            method=request.method,
            path=request.url.raw_path.partition(b"?")[0],
            query=request.url.query,
            headers=[(name.lower(), value) for name, value in request.headers.raw],
            body=request.content,
        )
        signature = base64.b64encode(sign(self.secret, string_to_sign(signed, date.encode()))).decode()
        request.headers["Authorization"] = f"{SCHEME} {self.key}:{signature}"
        yield request

    def date(self) -> str:
        """Return the value of the Date header."""
        return format_datetime(datetime.now(UTC), usegmt=True)
