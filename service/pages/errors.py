"""Error pages for browsers; other clients get the error response of the API."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from service.http import envelope
from service.http.envelope import STATUS, trace_id, wants_page
from service.http.languages import of_errors
from service.model.errors import NoSuchPath, TakeoverError
from service.pages.rendering import language_of, render


async def rejected(request: Request, error: Exception) -> Response:
    """Respond to a TakeoverError."""
    if not wants_page(request):
        return await envelope.refused(request, error)
    assert isinstance(error, TakeoverError)
    return render(
        request, "error.html", status=STATUS[error.kind], message=error.say(of_errors(language_of(request))), trace=""
    )


async def not_routed(request: Request, error: Exception) -> Response:
    """Respond to a path or method without a route."""
    assert isinstance(error, HTTPException)
    if not wants_page(request) or error.status_code != 404:
        return await envelope.not_routed(request, error)
    return await rejected(request, NoSuchPath(path=request.scope["path"]))


async def fault(request: HTTPConnection, error: Exception) -> Response:
    """Respond to an error of the service."""
    response = await envelope.fault(request, error)
    if not wants_page(request):
        return response
    headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    reason = envelope.not_writable(error)
    message = reason.say(of_errors(language_of(request))) if reason else ""
    page = render(request, "error.html", status=response.status_code, message=message, trace=trace_id(request))
    page.headers.update(headers)
    return page


HANDLERS: Mapping[type[Exception], ExceptionHandler] = {
    **envelope.HANDLERS,
    TakeoverError: rejected,
    HTTPException: not_routed,
}
