"""Exception handlers: turn an exception into OCP's error response (statuses: docs/reference/ocp-api.md 4.3)."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from service.http.envelope import error_response, internal_error_response, trace_id
from service.model.errors import DatabaseLost, DatabaseNotWritable, MethodNotAllowed, NoSuchPath, TakeoverError
from service.store.database_errors import is_lost, is_read_only, is_unwritable

log = logging.getLogger(__name__)

RETRY_AFTER = "5"  # seconds until a caller retries while the database is unavailable

ErrorHandler = Callable[[HTTPConnection, Exception], Awaitable[Response]]
"""Makes the response to a request that an exception has ended."""


async def takeover_error(request: HTTPConnection, error: Exception) -> Response:
    """Return the response to a TakeoverError."""
    assert isinstance(error, TakeoverError)
    return error_response(request, error)


async def routing_error(request: Request, error: Exception) -> Response:
    """Return 404 or 405 for a request without a route; for OPTIONS, 204 with the allowed methods."""
    assert isinstance(error, HTTPException)
    assert error.status_code in (404, 405), "the router raises no other"
    path = request.scope["path"]  # not request.url, which fails on a malformed Host header
    if error.status_code == 404:
        return error_response(request, NoSuchPath(path=path))
    allowed = ", ".join(_allowed_methods(request))
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"Allow": allowed})
    not_allowed = MethodNotAllowed(method=request.method, path=path, allowed=allowed)
    return error_response(request, not_allowed, {"Allow": allowed})


async def client_disconnected(request: Request, error: Exception) -> Response:
    """Log that the client has disconnected before it had sent its request; the response reaches no one."""
    log.info("The client disconnected before %s %s was complete", request.method, request.scope["path"])
    return Response(status_code=400)


async def unexpected_error(request: HTTPConnection, error: Exception) -> Response:
    """Return 500 with the type of the exception; everything else about it is only in the log."""
    log.error(
        "%s %s failed (trace id %s)",
        *(request.scope["method"], request.scope["path"], trace_id(request)),
        exc_info=error,
        extra={"action": "request_failed", "trace_id": trace_id(request)},
    )
    return internal_error_response(request, error)


async def server_error(request: HTTPConnection, error: Exception) -> Response:
    """Return 503 while the database is lost or not writable, else 500."""
    if reason := database_not_writable(error):
        log.error(
            "%s %s failed, the database cannot be written: %s (trace id %s)",
            *(request.scope["method"], request.scope["path"], error, trace_id(request)),
            extra={"action": "database_not_writable", "trace_id": trace_id(request)},
        )
        return error_response(request, reason, {"Retry-After": RETRY_AFTER})
    if not is_lost(error):
        return await unexpected_error(request, error)
    log.warning(
        "%s %s failed, the database does not answer: %s (trace id %s)",
        *(request.scope["method"], request.scope["path"], error, trace_id(request)),
        extra={"action": "database_lost", "trace_id": trace_id(request)},
    )
    return error_response(request, DatabaseLost(), {"Retry-After": RETRY_AFTER})


def database_not_writable(error: Exception) -> DatabaseNotWritable | None:
    """Return the error for a database that cannot be written; None when `error` is any other."""
    if not is_unwritable(error):
        return None
    return DatabaseNotWritable(reason="it is read-only" if is_read_only(error) else "its disk is full")


def _allowed_methods(request: Request) -> list[str]:
    routes = (route for route in request.app.routes if isinstance(route, Route))
    matching = (route.methods or set() for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({"OPTIONS"}.union(*matching))


EXCEPTION_HANDLERS: Mapping[type[Exception], ExceptionHandler] = {
    TakeoverError: takeover_error,
    HTTPException: routing_error,
    ClientDisconnect: client_disconnected,
    Exception: unexpected_error,
}


class UnhandledErrorMiddleware:
    """Responds to exceptions that no exception handler has taken.

    Starlette's own ServerErrorMiddleware would log the traceback a second time.
    """

    def __init__(self, app: ASGIApp, *, handler: ErrorHandler = server_error) -> None:
        self.app = app
        self.handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        response_started = False

        async def send_observed(message: Message) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        try:
            await self.app(scope, receive, send_observed)
        except Exception as error:  # one failed request must not stop the server
            if response_started:
                raise
            response = await self.handler(HTTPConnection(scope), error)
            await response(scope, receive, send)
