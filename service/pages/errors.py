"""Error pages for browsers; other clients get the error response of the API."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from service.http import error_handlers
from service.http.envelope import STATUS_CODES, trace_id, wants_html
from service.http.languages import error_translator
from service.model.errors import NoSuchPath, TakeoverError
from service.pages.rendering import language_of, render


async def takeover_error(request: HTTPConnection, error: Exception) -> Response:
    """Respond to a TakeoverError."""
    if not wants_html(request):
        return await error_handlers.takeover_error(request, error)
    assert isinstance(error, TakeoverError)
    return render(
        request,
        "error.html",
        status=STATUS_CODES[error.kind],
        message=error.say(error_translator(language_of(request))),
        trace="",
    )


async def routing_error(request: Request, error: Exception) -> Response:
    """Respond to a path or method without a route."""
    assert isinstance(error, HTTPException)
    if not wants_html(request) or error.status_code != 404:
        return await error_handlers.routing_error(request, error)
    return await takeover_error(request, NoSuchPath(path=request.scope["path"]))


async def server_error(request: HTTPConnection, error: Exception) -> Response:
    """Respond to an error of the service."""
    response = await error_handlers.server_error(request, error)
    if not wants_html(request):
        return response
    headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    reason = error_handlers.database_not_writable(error)
    message = reason.say(error_translator(language_of(request))) if reason else ""
    page = render(request, "error.html", status=response.status_code, message=message, trace=trace_id(request))
    page.headers.update(headers)
    return page


EXCEPTION_HANDLERS: Mapping[type[Exception], ExceptionHandler] = {
    **error_handlers.EXCEPTION_HANDLERS,
    TakeoverError: takeover_error,
    HTTPException: routing_error,
}
