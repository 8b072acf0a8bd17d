"""What was refused or has failed, told to a person on a page; everybody else gets the API's answer."""

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


async def refused(request: Request, error: Exception) -> Response:
    """Answers a TakeoverError."""
    if not wants_page(request):
        return await envelope.refused(request, error)
    assert isinstance(error, TakeoverError)
    return render(
        request, "error.html", status=STATUS[error.kind], message=error.say(of_errors(language_of(request))), trace=""
    )


async def not_routed(request: Request, error: Exception) -> Response:
    """Answers what the router found nothing for."""
    assert isinstance(error, HTTPException)
    if not wants_page(request) or error.status_code != 404:
        return await envelope.not_routed(request, error)
    return await refused(request, NoSuchPath(path=request.scope["path"]))


async def fault(request: HTTPConnection, error: Exception) -> Response:
    """Answers what went wrong here and not with the request."""
    answer = await envelope.fault(request, error)
    if not wants_page(request):
        return answer
    headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
    reason = envelope.not_writable(error)
    message = reason.say(of_errors(language_of(request))) if reason else ""
    page = render(request, "error.html", status=answer.status_code, message=message, trace=trace_id(request))
    page.headers.update(headers)
    return page


HANDLERS: Mapping[type[Exception], ExceptionHandler] = {
    **envelope.HANDLERS,
    TakeoverError: refused,
    HTTPException: not_routed,
}
