"""Signed requests: OCP-ACCESS-KEY-HMACSHA1, as docs/reference/ocp-api.md 5.2 says. Only bytes as they came are looked
at.

Two encodings of the query are right, RFC 3986 and Java's URLEncoder, and the date may stand in either of two headers:
a request is signed when one of these readings has the signature that it carries.
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
SKEW = timedelta(minutes=15)
OWN_HEADER = b"x-ocp-"
DATE_HEADERS = (b"date", b"x-ocp-date")

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as ASGI has them."""


@dataclass(frozen=True, kw_only=True)
class SignedRequest:
    """What a signature covers: `path` and `query` still percent-encoded, `body` as received."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Proof:
    """That a request was signed: its `digest`, and the moment from which on it is too old to be sent again."""

    digest: bytes
    expires: datetime


def sign(secret: str, message: bytes) -> bytes:
    """The HMAC-SHA1 of a string to sign; its base64 is the signature."""
    return hmac.digest(secret.encode(), message, "sha1")


def verify(request: SignedRequest, signature: str, secret: str, now: datetime) -> Proof | None:
    """The proof that `secret` signed `request` less than 15 minutes from `now`; None when it did not."""
    try:
        given = base64.b64decode(signature.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    for (moment, date), encode in product(list(_dates(request.headers)), (_rfc_3986, _url_encoder)):
        right = hmac.compare_digest(sign(secret, string_to_sign(request, date, encode)), given)
        if right and abs(now - moment) <= SKEW:
            return Proof(digest=given, expires=moment + SKEW)
    return None


def string_to_sign(request: SignedRequest, date: bytes, encode: Callable[[bytes], str] | None = None) -> bytes:
    """The seven lines that are signed; `encode` is how the query's names and values are percent-encoded."""
    lines = (
        request.method.upper().encode(),
        # Not a choice: the format demands MD5. The HMAC around it is what protects.
        hashlib.md5(request.body, usedforsecurity=False).hexdigest().upper().encode() if request.body else b"",
        _joined(request.headers, b"content-type"),
        date,
        _joined(request.headers, b"host"),
        _own_headers(request.headers),
        request.path + _canonical_query(request.query, encode or _rfc_3986).encode(),
    )
    return b"\n".join(lines)


def _dates(headers: Headers) -> Iterator[tuple[datetime, bytes]]:
    for name in DATE_HEADERS:
        value = _joined(headers, name)
        try:
            moment = parsedate_to_datetime(value.decode("ascii"))
        except ValueError:
            continue
        # "GMT" gives an aware moment; without a zone there is none to compare with.
        if moment.tzinfo is not None:
            yield moment.astimezone(UTC), value


def _joined(headers: Headers, name: bytes) -> bytes:
    return b",".join(value for key, value in headers if key == name)


def _own_headers(headers: Headers) -> bytes:
    names = sorted({name for name, _ in headers if name.startswith(OWN_HEADER)})
    return b"\n".join(name + b":" + _joined(headers, name) for name in names)


def _canonical_query(query: bytes, encode: Callable[[bytes], str]) -> str:
    """`?` and the parameters sorted by name; one that is there twice is its values, sorted, joined by a comma."""
    parameters: dict[bytes, list[bytes]] = {}
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            parameters.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    if not parameters:
        return ""
    pairs = ((name, b",".join(sorted(filter(None, values)))) for name, values in sorted(parameters.items()))
    return "?" + "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)


def _rfc_3986(text: bytes) -> str:
    return quote(text, safe="")


def _url_encoder(text: bytes) -> str:
    return quote_plus(text, safe="*").replace("~", "%7E")


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
