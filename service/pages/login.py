"""Login, logout, and the preferences of a browser: language and theme."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.access import sessions
from service.access.errors import CsrfCheckFailed, LoginBlocked
from service.access.roles import ANY_USER, READ_OBPROXY, READ_TASK, permitted
from service.http import languages, requests
from service.http.audit import begin_record
from service.http.authentication import LOGIN_PAGE, SESSION_COOKIE, BasicAuthentication
from service.pages.addresses import local_path
from service.pages.rendering import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, render

START_PAGES = (("/tasks", READ_TASK), ("/clusters", READ_OBPROXY), ("/docs", ANY_USER))
FORM_LIMIT = 16 * 1024  # bytes of a login form
PREFERENCE_AGE = 365 * 24 * 3600  # seconds


async def home(request: Request) -> Response:
    """Serve GET /: redirect to the first page that the user may see. Every user may see /docs."""
    allowed = (path for path, needed in START_PAGES if permitted(request.user.roles, needed))
    return RedirectResponse(next(allowed), 303)


async def login_form(request: Request) -> Response:
    """Serve GET /login."""
    return render(request, "login.html", next=local_path(request.query_params.get("next", "")), failure="", name="")


async def login(request: Request) -> Response:
    """Serve POST /login: the check of HTTP Basic, with the same brute-force protection."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CsrfCheckFailed  # login CSRF: another site logs its visitor in as another user
    resources = requests.resources(request)
    basic: BasicAuthentication = request.app.state.basic
    fields = requests.form_fields(await requests.read_body(request.headers, request.receive, FORM_LIMIT))
    name, target = fields.get("name", ""), local_path(fields.get("next", ""))
    try:
        user = await basic.login(request.scope, name, fields.get("password", "").encode())
    except LoginBlocked:
        return render(request, "login.html", status=401, next=target, failure="blocked", name=name)
    if user is None:
        return render(request, "login.html", status=401, next=target, failure="wrong", name=name)
    request.scope["user"] = user  # for the audit record
    await begin_record(request.scope)
    hours = resources.settings.session_hours
    token = await sessions.start(resources.database, user, hours=hours)
    response = RedirectResponse(target, 303)
    secure = request.scope["scheme"] == "https"
    # Lax, so that a link from another site opens its page. CSRF tokens protect the requests that change something.
    response.set_cookie(SESSION_COOKIE, token, max_age=hours * 3600, secure=secure, httponly=True, samesite="lax")
    return response


async def logout(request: Request) -> Response:
    """Serve POST /logout."""
    resources = requests.resources(request)
    await sessions.end(resources.database, request.cookies.get(SESSION_COOKIE, ""))
    response = RedirectResponse(LOGIN_PAGE, 303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax")
    return response


async def preferences(request: Request) -> Response:
    """Serve GET /preferences: store language or theme in a cookie, and redirect to `next`."""
    response = RedirectResponse(local_path(request.query_params.get("next", "")), 303)
    for cookie, known in ((LANGUAGE_COOKIE, languages.LANGUAGES), (THEME_COOKIE, THEMES)):
        value = request.query_params.get(cookie, "")
        if value in known:
            response.set_cookie(cookie, value, max_age=PREFERENCE_AGE, samesite="lax")
    return response
