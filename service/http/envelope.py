"""OCP's envelope around every answer, and the one place where an error becomes a status and a message.

Shapes: docs/reference/ocp-api.md 4.1 (success), 4.2 (error), 4.3 (which status).
"""

import hashlib
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from service.http import languages
from service.http.security_headers import SECURITY_HEADERS
from service.model import wire
from service.model.errors import (
    DatabaseLost,
    DatabaseNotWritable,
    InvalidRequest,
    Kind,
    MethodNotAllowed,
    NoSuchPath,
    SubError,
    TakeoverError,
)
from service.model.types import JSON, Page
from service.observe.logs import log_context
from service.store.database_errors import is_lost, is_read_only, is_unwritable

log = logging.getLogger(__name__)

SERVER = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:10]
"""What `server` says: an id of the installation, as long and as opaque as the sample's."""

STATUS: Mapping[Kind, int] = {
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
UNEXPECTED = 500
RETRY_AFTER = "5"  # seconds until a caller may find the database back

TRACE_ID = re.compile(r"[0-9a-f]{16}")
LARGEST_NUMBER = 2**53 - 1  # what a JavaScript reader keeps exactly; OCP writes longer ones as strings


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What an answer says about its request: `started` in seconds of `time.perf_counter`."""

    id: str
    started: float

    @property
    def duration(self) -> int:
        """Milliseconds since the request came in."""
        return round((time.perf_counter() - self.started) * 1000)


class Tracing:
    """Starts the clock and gives the request its trace id: the caller's `x-trace-id`, or a new one.

    Stands behind authentication, so that what is refused there has no trace, as in OCP (docs/reference/ocp-api.md 4.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            sent = Headers(scope=scope).get("x-trace-id", "")
            trace_id = sent if TRACE_ID.fullmatch(sent) else secrets.token_hex(8)
            scope["trace"] = Trace(id=trace_id, started=time.perf_counter())
            with log_context(trace_id=trace_id):
                await self.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def trace_id(connection: HTTPConnection) -> str:
    """The request's trace id; empty when it was refused before it got one."""
    trace = _trace(connection)
    return trace.id if trace else ""


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a person looks at the answer: a browser asks, and not for something of the API."""
    accepted = Headers(scope=connection.scope).get("accept", "")
    return "text/html" in accepted and not connection.scope["path"].startswith("/api/")


def success(request: Request, data: Mapping[str, object] | None = None) -> Response:
    """200 with `data`, which is left out when there is none."""
    return JSONResponse(_envelope(request, 200, **({} if data is None else {"data": data})))


def contents(elements: Iterable[Mapping[str, object]]) -> JSON:
    """The `data` of a list."""
    return {"contents": list(elements)}


def page_of(elements: Iterable[Mapping[str, object]], page: Page, total: int) -> JSON:
    """The `data` of one page of a list of `total` elements."""
    return {
        "contents": list(elements),
        "page": {
            "number": page.number,
            "size": page.size,
            "totalElements": total,
            "totalPages": -(-total // page.size),
        },
    }


def failure(request: HTTPConnection, error: TakeoverError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to what was refused: status by the error's kind, OCP's code, every bad field."""
    sub_errors = error.sub_errors if isinstance(error, InvalidRequest) else ()
    translate = languages.of_errors(languages.choose(request.headers.get("accept-language", "")))
    shown = [_sub_error(sub_error, translate) for sub_error in sub_errors]
    return _failure(request, STATUS[error.kind], error.code, error.say(translate), shown, headers)


def _failure(
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
        case int(number) if not isinstance(number, bool) and abs(number) > LARGEST_NUMBER:
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
        "server": SERVER,
        "status": status,
        "successful": status < 400,
        "timestamp": wire.timestamp(datetime.now(UTC)),
        "traceId": trace_id(request),
        **content,
    }
    return dict(sorted(properties.items()))


async def refused(request: Request, error: Exception) -> Response:
    """Answers a TakeoverError."""
    assert isinstance(error, TakeoverError)
    return failure(request, error)


async def not_routed(request: Request, error: Exception) -> Response:
    """Answers what the router found nothing for: no such path, or not with this method. OPTIONS learns the methods."""
    assert isinstance(error, HTTPException)
    assert error.status_code in (404, 405), "the router raises no other"
    path = request.scope["path"]  # not request.url: that takes a Host header apart which the caller may have garbled
    if error.status_code == 404:
        return failure(request, NoSuchPath(path=path))
    allowed = ", ".join(_allowed_methods(request))
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"Allow": allowed})
    refusal = MethodNotAllowed(method=request.method, path=path, allowed=allowed)
    return failure(request, refusal, {"Allow": allowed})


async def gone(request: Request, error: Exception) -> Response:
    """Ends a request whose caller hung up half-way; nobody reads this."""
    log.info("The caller of %s %s hung up before its request was complete", request.method, request.scope["path"])
    return Response(status_code=400)


async def unexpected(request: HTTPConnection, error: Exception) -> Response:
    """Answers a fault of this service: the type of the exception is named, everything else is in the log."""
    log.error(
        "%s %s failed (trace id %s)",
        *(request.scope["method"], request.scope["path"], trace_id(request)),
        exc_info=error,
        extra={"action": "request_failed", "trace_id": trace_id(request)},
    )
    text = f"Unexpected error: {type(error).__name__}."
    return _failure(request, UNEXPECTED, 0, text, headers=SECURITY_HEADERS)  # perhaps nothing else adds them


async def fault(request: HTTPConnection, error: Exception) -> Response:
    """Answer a fault of the service: 503 while the database is lost or not writable, else 500."""
    if reason := not_writable(error):
        log.error(
            "%s %s was not done, the database cannot be written: %s (trace id %s)",
            *(request.scope["method"], request.scope["path"], error, trace_id(request)),
            extra={"action": "database_not_writable", "trace_id": trace_id(request)},
        )
        return failure(request, reason, {"Retry-After": RETRY_AFTER})
    if not is_lost(error):
        return await unexpected(request, error)
    log.warning(
        "%s %s was not done, the database does not answer: %s (trace id %s)",
        *(request.scope["method"], request.scope["path"], error, trace_id(request)),
        extra={"action": "database_lost", "trace_id": trace_id(request)},
    )
    return failure(request, DatabaseLost(), {"Retry-After": RETRY_AFTER})


def not_writable(error: Exception) -> DatabaseNotWritable | None:
    """Return the response to a request that the database cannot write; None for any other error."""
    if not is_unwritable(error):
        return None
    return DatabaseNotWritable(reason="it is read-only" if is_read_only(error) else "its disk is full")


HANDLERS: Mapping[type[Exception], ExceptionHandler] = {
    TakeoverError: refused,
    HTTPException: not_routed,
    ClientDisconnect: gone,
    Exception: unexpected,
}


def _allowed_methods(request: Request) -> list[str]:
    """Every method that some route answers at the request's path."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    matching = (route.methods or set() for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({"OPTIONS"}.union(*matching))
