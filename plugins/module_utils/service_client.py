"""HTTP client of the takeover service: small JSON requests, signed with an access key or with a user's password.

It needs nothing but Python's standard library.
"""

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

RESPONSE_LIMIT = 16 * 1024 * 1024  # bytes
NOT_THE_SERVICE = "the server at this address is not the takeover service"


class RequestRejected(Exception):
    """The service has rejected the request; the text is its own error message."""


class ServiceUnreachable(Exception):
    """The service has sent no valid response; the text has the reason.

    After a timeout, `timed_out` is true: the service may have received the request.
    """

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a signature is valid for one address only."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class ServiceClient:
    """Sends requests to one takeover service with the credentials of one user.

    `key` and `secret` are an access key's id and secret; with `is_user` they are a user's name and password.
    """

    url: str
    key: str
    secret: str = field(repr=False)
    time_limit: float  # seconds for one request
    is_user: bool = False
    tls_context: ssl.SSLContext | None = None

    def send(self, path: str, body: bytes | None = None) -> Any:
        """Return the `data` of the response to a GET, or to a POST of JSON.

        Raises RequestRejected and ServiceUnreachable.
        """
        request = self.build_request(path, body)
        opener = urllib.request.build_opener(_NoRedirect(), urllib.request.HTTPSHandler(context=self.tls_context))
        try:
            with opener.open(request, timeout=self.time_limit) as response:
                return json.loads(response.read(RESPONSE_LIMIT))["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise RequestRejected(_error_message(error)) from None
        except TimeoutError:
            raise ServiceUnreachable(f"no answer within {self.time_limit:g} s", timed_out=True) from None
        except urllib.error.URLError as error:
            raise ServiceUnreachable(str(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise ServiceUnreachable(str(error) or type(error).__name__) from None
        except (ValueError, LookupError, TypeError):
            raise ServiceUnreachable(NOT_THE_SERVICE) from None

    def build_request(self, path: str, body: bytes | None = None) -> urllib.request.Request:
        """Return the authenticated request. The names in `path`'s query must be sorted, as the signature needs."""
        try:
            url = urlsplit(self.url.rstrip("/") + path)
            is_http = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            is_http = False
        if not is_http:
            raise ServiceUnreachable("the URL is not an http or https address")
        method = "GET" if body is None else "POST"
        headers = {"Content-Type": "application/json", "Date": formatdate(usegmt=True), "Host": url.netloc}
        headers["Authorization"] = self._basic() if self.is_user else self._signature(method, headers, url, body)
        return urllib.request.Request(url.geturl(), body, headers)  # noqa: S310 - checked above

    def _basic(self) -> str:
        return f"Basic {base64.b64encode(f'{self.key}:{self.secret}'.encode()).decode()}"

    def _signature(self, method: str, headers: dict[str, str], url: Any, body: bytes | None) -> str:
        """Return OCP's access key signature: HMAC-SHA1 over the joined lines (docs/reference/ocp-api.md 5.2)."""
        # OCP's format requires MD5. The HMAC around it protects the request.
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest().upper() if body else ""
        query = f"?{url.query}" if url.query else ""
        lines = "\n".join((method, digest, *headers.values(), "", url.path + query))
        signature = base64.b64encode(hmac.digest(self.secret.encode(), lines.encode(), "sha1")).decode()
        return f"OCP-ACCESS-KEY-HMACSHA1 {self.key}:{signature}"


def _error_message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(RESPONSE_LIMIT))["error"]["message"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return f"HTTP status {error.code}"
