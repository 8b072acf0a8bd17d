"""OCP's envelope of responses, and the trace id in it.

Format: docs/reference/ocp-api.md 4.1 (success), 4.2 (error), 4.3 (statuses).
"""

import hashlib
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http import languages
from service.http.security_headers import SECURITY_HEADERS
from service.model import wire
from service.model.errors import InvalidRequest, Kind, SubError, TakeoverError
from service.model.types import JSON, Page
from service.observe.logs import log_context

SERVER_ID = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:10]
"""The property `server` of the envelope: an opaque id of this machine, in the format of OCP's sample."""

STATUS_CODES: Mapping[Kind, int] = {
    Kind.BAD_REQUEST: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD_NOT_ALLOWED: 405,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED_MEDIA_TYPE: 415,
    Kind.TOO_MANY_REQUESTS: 429,
    Kind.UNAVAILABLE: 503,
}
INTERNAL_SERVER_ERROR = 500

TRACE_ID = re.compile(r"[0-9a-f]{16}")
MAX_SAFE_INTEGER = 2**53 - 1  # of JavaScript; OCP writes larger integers as strings


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Trace id and start of a request; `started` in seconds of `time.perf_counter`."""

    id: str
    started: float

    @property
    def duration(self) -> int:
        """Milliseconds since the request arrived."""
        return round((time.perf_counter() - self.started) * 1000)


class TraceIdMiddleware:
    """Adds a Trace to the scope. Its id is the caller's `x-trace-id`, or a new one.

    It is inside the authentication middleware: as in OCP, an unauthenticated request has no trace id
    (docs/reference/ocp-api.md 4.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            sent = Headers(scope=scope).get("x-trace-id", "").lower()
            trace_id = sent if TRACE_ID.fullmatch(sent) else secrets.token_hex(8)
            scope["trace"] = Trace(id=trace_id, started=time.perf_counter())
            with log_context(trace_id=trace_id):
                await self.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def trace_id(connection: HTTPConnection) -> str:
    """Return the trace id of a request; empty when the request was rejected before it got one."""
    trace = _trace(connection)
    return trace.id if trace else ""


def wants_html(connection: HTTPConnection) -> bool:
    """Return whether the response is shown in a browser: it accepts HTML, and the path is not of the API."""
    accepted = Headers(scope=connection.scope).get("accept", "")
    return "text/html" in accepted and not connection.scope["path"].startswith("/api/")


def success_response(
    request: Request, data: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return 200 with `data`; without `data`, the envelope has no such property."""
    return JSONResponse(_envelope(request, 200, **({} if data is None else {"data": data})), headers=headers)


def list_data(elements: Iterable[Mapping[str, object]]) -> JSON:
    """Return the `data` of a list."""
    return {"contents": list(elements)}


def page_data(elements: Iterable[Mapping[str, object]], page: Page, total: int) -> JSON:
    """Return the `data` of one page of a list of `total` elements."""
    return {
        "contents": list(elements),
        "page": {
            "number": page.number,
            "size": page.size,
            "totalElements": total,
            "totalPages": -(-total // page.size),
        },
    }


def error_response(request: HTTPConnection, error: TakeoverError, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response to an error: status by its kind, OCP's code, translated message, every bad field."""
    sub_errors = error.sub_errors if isinstance(error, InvalidRequest) else ()
    translate = languages.error_translator(languages.choose(request.headers.get("accept-language", "")))
    shown = [_sub_error(sub_error, translate) for sub_error in sub_errors]
    return _error_envelope(request, STATUS_CODES[error.kind], error.code, error.say(translate), shown, headers)


def internal_error_response(request: HTTPConnection, error: Exception) -> Response:
    """Return 500 for an unexpected exception. The security headers are set here: no middleware may be left to do it."""
    message = f"Unexpected error: {type(error).__name__}."
    return _error_envelope(request, INTERNAL_SERVER_ERROR, 0, message, headers=SECURITY_HEADERS)


def _error_envelope(
    request: HTTPConnection,
    status: int,
    code: int,
    message: str,
    sub_errors: Sequence[JSON] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    error: JSON = {"code": code, "message": message}
    if sub_errors:
        error["subErrors"] = list(sub_errors)
    return JSONResponse(_envelope(request, status, error=error), status_code=status, headers=headers)


def _sub_error(error: SubError, translate: Callable[[str], str]) -> JSON:
    message = error.wording.say(translate) if error.wording else error.message
    shown = {"field": error.field, "message": message, "object": error.object}
    match error.rejected_value:
        case None:
            return shown
        case int(number) if not isinstance(number, bool) and abs(number) > MAX_SAFE_INTEGER:
            return {**shown, "rejectedValue": str(number)}
        case value:
            return {**shown, "rejectedValue": value}


def _trace(connection: HTTPConnection) -> Trace | None:
    trace: Trace | None = connection.scope.get("trace")
    return trace


def _envelope(request: HTTPConnection, status: int, **content: Mapping[str, object]) -> JSON:
    trace = _trace(request)
    properties = {
        "duration": trace.duration if trace else 0,
        "server": SERVER_ID,
        "status": status,
        "successful": status < 400,
        "timestamp": wire.timestamp(datetime.now(UTC)),
        "traceId": trace_id(request),
        **content,
    }
    return dict(sorted(properties.items()))
