"""Logging in and out, and how a reader likes the pages: cookies, and nothing else is decided here."""

import re

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.access import sessions
from service.access.errors import CsrfCheckFailed, LoginBlocked
from service.access.roles import ANY_USER, permitted
from service.http import languages, requests
from service.http.authentication import COOKIE, LOGIN_PAGE, Basic
from service.http.guards import begin_record
from service.pages.rendering import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, render

HOME = "/"
STARTS = (("/tasks", "TASK:*:READ"), ("/clusters", "OBPROXY:*:READ"), ("/docs", ANY_USER))
LOCAL = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]*")
FORM_LIMIT = 16 * 1024  # bytes of a login form
YEAR = 365 * 24 * 3600  # seconds that a reader's choice is kept


async def home(request: Request) -> Response:
    """GET /: the first page that the reader may see; everybody may see what the API is."""
    allowed = (path for path, needed in STARTS if permitted(request.user.roles, needed))
    return RedirectResponse(next(allowed), 303)


async def login_form(request: Request) -> Response:
    """GET /login"""
    return render(request, "login.html", next=_local(request.query_params.get("next", "")), refused="", name="")


async def login(request: Request) -> Response:
    """POST /login: the same check as HTTP Basic's, with its delays and blocking."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CsrfCheckFailed  # or another site could log its visitor in as somebody else
    resources = requests.resources(request)
    basic: Basic = request.app.state.basic
    fields = requests.form_fields(await requests.read_body(request.headers, request.receive, FORM_LIMIT))
    name, target = fields.get("name", ""), _local(fields.get("next", ""))
    try:
        user = await basic.login(request.scope, name, fields.get("password", "").encode())
    except LoginBlocked:
        return render(request, "login.html", status=401, next=target, refused="blocked", name=name)
    if user is None:
        return render(request, "login.html", status=401, next=target, refused="wrong", name=name)
    request.scope["user"] = user  # for the record of what was changed
    await begin_record(request.scope)
    hours = resources.settings.session_hours
    token = await sessions.start(resources.database, user, hours=hours)
    answer = RedirectResponse(target, 303)
    secure = request.scope["scheme"] == "https"
    # Lax: a link in a message must lead to its page. What changes something needs more than the cookie anyway.
    answer.set_cookie(COOKIE, token, max_age=hours * 3600, secure=secure, httponly=True, samesite="lax")
    return answer


async def logout(request: Request) -> Response:
    """POST /logout"""
    resources = requests.resources(request)
    await sessions.end(resources.database, request.cookies.get(COOKIE, ""))
    answer = RedirectResponse(LOGIN_PAGE, 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return answer


async def preferences(request: Request) -> Response:
    """GET /preferences: keeps the reader's language or theme, and goes back."""
    answer = RedirectResponse(_local(request.query_params.get("next", "")), 303)
    for cookie, known in ((LANGUAGE_COOKIE, languages.LANGUAGES), (THEME_COOKIE, THEMES)):
        wanted = request.query_params.get(cookie, "")
        if wanted in known:
            answer.set_cookie(cookie, wanted, max_age=YEAR, samesite="lax")
    return answer


def _local(target: str) -> str:
    """Where to go on: a path of ours, never another site (`//elsewhere`, `/\\elsewhere`), else home."""
    return target if LOCAL.fullmatch(target) else HOME
