"""Telling the takeover service of runs that were started by hand: small, signed requests."""

import base64
import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

PATH = "/api/v2/obproxy/externalRuns"
LONGEST_ANSWER = 1024 * 1024  # bytes
LARGEST = 900_000  # bytes of a request: the service takes 1 MiB unless it is set otherwise
CUTS = (16_000, 4_000, 1_000, 200)  # characters of one text: the first with which a request is small enough


class Refused(Exception):
    """The service has said no; the text is its own sentence."""


class NotReached(Exception):
    """There was no answer of the service; the text says why."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is signed goes where it was signed for."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class Service:
    """Where the service is, the access key to sign with, and how many seconds to wait for it."""

    url: str
    key: str
    secret: str = field(repr=False)
    time_limit: float

    def tell(self, run: dict[str, Any]) -> int:
        """Have a run recorded; the id of its task instance. Raises Refused and NotReached."""
        request = self.signed(fitting(run))
        opener = urllib.request.build_opener(_NoRedirect())
        try:
            with opener.open(request, timeout=self.time_limit) as answer:
                return int(json.loads(answer.read(LONGEST_ANSWER))["data"]["id"])
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(_said(error)) from None
        except TimeoutError:
            raise NotReached(f"no answer within {self.time_limit:g} s; it may be recorded all the same") from None
        except urllib.error.URLError as error:
            raise NotReached(str(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise NotReached(str(error) or type(error).__name__) from None
        except (ValueError, LookupError, TypeError):
            raise NotReached("what answers there is not the takeover service") from None

    def signed(self, body: bytes) -> urllib.request.Request:
        """The request with OCP's signature: its lines are joined and put through HMAC-SHA1 (facts/ocp-api.md 5.2)."""
        try:
            url = urlsplit(self.url.rstrip("/") + PATH)
            is_ours = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            is_ours = False
        if not is_ours:
            raise NotReached("that is no http or https address")
        headers = {"Content-Type": "application/json", "Date": formatdate(usegmt=True), "Host": url.netloc}
        # Not a choice: the format demands MD5. The HMAC around it is what protects.
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest().upper()
        lines = "\n".join(("POST", digest, *headers.values(), "", url.path))
        signature = base64.b64encode(hmac.digest(self.secret.encode(), lines.encode(), "sha1")).decode()
        headers["Authorization"] = f"OCP-ACCESS-KEY-HMACSHA1 {self.key}:{signature}"
        return urllib.request.Request(url.geturl(), body, headers, method="POST")  # noqa: S310 - checked above


def fitting(run: dict[str, Any]) -> bytes:
    """The JSON of a run, its texts cut until the service can take it; what is too large even then it will refuse."""
    body = b""
    for cut in CUTS:
        body = json.dumps(_plain(run, cut)).encode()
        if len(body) <= LARGEST:
            break
    return body


def _plain(value: Any, cut: int) -> Any:
    """The same of plain JSON types, without what no UTF-8 can carry."""
    if isinstance(value, dict):
        return {str(_plain(str(key), cut)): _plain(item, cut) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, cut) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= cut else f"{text[:cut]} [cut: {len(text) - cut} characters more]"


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(LONGEST_ANSWER))["error"]["message"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return f"HTTP status {error.code}"
