"""Asking the takeover service over HTTP with nothing but Python: small requests, signed or with a password."""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

LONGEST_ANSWER = 16 * 1024 * 1024  # bytes
STRANGER = "what answers there is not the takeover service"


class Refused(Exception):
    """The service has said no; the text is its own sentence."""


class NotReached(Exception):
    """There was no answer of the service; the text says why. `is_late`: it may have got the request all the same."""

    def __init__(self, why: str, *, is_late: bool = False) -> None:
        super().__init__(why)
        self.is_late = is_late


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is signed goes where it was signed for."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class Service:
    """Where the service is, who asks, and how many seconds to wait for it.

    `key` is an access key's id and `secret` its secret; with `is_user` a user's name and password.
    """

    url: str
    key: str
    secret: str = field(repr=False)
    time_limit: float
    is_user: bool = False
    trusted: ssl.SSLContext | None = None

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """What is in the answer to a GET, or to a POST of JSON. Raises Refused and NotReached."""
        request = self.request(path, body)
        opener = urllib.request.build_opener(_NoRedirect(), urllib.request.HTTPSHandler(context=self.trusted))
        try:
            with opener.open(request, timeout=self.time_limit) as answer:
                return json.loads(answer.read(LONGEST_ANSWER))["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(_said(error)) from None
        except TimeoutError:
            raise NotReached(f"no answer within {self.time_limit:g} s", is_late=True) from None
        except urllib.error.URLError as error:
            raise NotReached(str(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise NotReached(str(error) or type(error).__name__) from None
        except (ValueError, LookupError, TypeError):
            raise NotReached(STRANGER) from None

    def request(self, path: str, body: bytes | None = None) -> urllib.request.Request:
        """The request, with who asks. The names in `path`'s query are sorted, as a signature wants them."""
        try:
            url = urlsplit(self.url.rstrip("/") + path)
            is_ours = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            is_ours = False
        if not is_ours:
            raise NotReached("that is no http or https address")
        method = "GET" if body is None else "POST"
        headers = {"Content-Type": "application/json", "Date": formatdate(usegmt=True), "Host": url.netloc}
        headers["Authorization"] = self._password() if self.is_user else self._signature(method, headers, url, body)
        return urllib.request.Request(url.geturl(), body, headers, method=method)  # noqa: S310 - checked above

    def _password(self) -> str:
        return f"Basic {base64.b64encode(f'{self.key}:{self.secret}'.encode()).decode()}"

    def _signature(self, method: str, headers: dict[str, str], url: Any, body: bytes | None) -> str:
        """OCP's: some lines are joined and put through HMAC-SHA1 (docs/reference/ocp-api.md 5.2)."""
        # Not a choice: the format demands MD5. The HMAC around it is what protects.
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest().upper() if body else ""
        query = f"?{url.query}" if url.query else ""
        lines = "\n".join((method, digest, *headers.values(), "", url.path + query))
        signature = base64.b64encode(hmac.digest(self.secret.encode(), lines.encode(), "sha1")).decode()
        return f"OCP-ACCESS-KEY-HMACSHA1 {self.key}:{signature}"


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(LONGEST_ANSWER))["error"]["message"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return f"HTTP status {error.code}"
