"""Authentication and authorization, before anything else of a request is handled (docs/reference/ocp-api.md 5).

The schemes are HTTP Basic, a request signature by an access key, and the cookie of a session. All failures have the
same response, which prevents user enumeration. A browser that requests a page is redirected to the login page.
"""

import asyncio
import base64
import binascii
import hmac
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access import access_keys, login_throttling, sessions, users
from service.access.errors import CsrfCheckFailed, Forbidden, SignatureUsed, Unauthenticated
from service.access.login_throttling import Attempt
from service.access.passwords import PasswordVerifier
from service.access.request_signatures import SignedRequest, verify
from service.access.roles import PUBLIC, Role, permitted
from service.access.users import NAME, User
from service.http import requests
from service.http.envelope import wants_html
from service.http.error_handlers import ErrorHandler, takeover_error
from service.model.errors import Kind, TakeoverError
from service.tasks.resources import Resources

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ACCESS_KEY = re.compile(r"([A-Za-z0-9]{16}):(\S+)")
SESSION_COOKIE = "session"
CSRF_FIELD = "form_token"  # of an HTML form: the CSRF token of the session
CSRF_HEADER = "X-Form-Token"  # of a request by a script: the same
LOGIN_PAGE = "/login"
SIGNATURE_REPEATED = "signature_repeated"  # key in the scope of a request whose signature was used before
CHALLENGE = 'Basic realm="OBProxy takeover", charset="UTF-8"'
UNKNOWN_USER = "?"  # counts the failures of all names that no user can have


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The user of a request, the ASGI `receive` for its body, and the CSRF token of its session, if any."""

    user: User
    receive: Receive
    csrf_token: str = ""


Scheme = Callable[[Scope, Receive, str], Awaitable[Caller | None]]
"""Authenticates a request by the credentials in the Authorization header, or by the value of the session cookie.

Returns None when the credentials are wrong. A TakeoverError that it raises becomes the response.
"""


class AuthenticationMiddleware:
    """Rejects requests without a valid user, except on `public_paths`; sets `scope["user"]` and `scope["csrf_token"]`.

    `schemes` maps the name of an Authorization scheme, in lower case, to its verification; `session` verifies the
    cookie of a request without that header. Starlette's class of this name is not used: it passes unauthenticated
    requests on, and each endpoint must reject them. `handler` makes the response to a rejected request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        schemes: Mapping[str, Scheme],
        public_paths: Collection[str],
        session: Scheme | None = None,
        handler: ErrorHandler = takeover_error,
    ) -> None:
        self.app = app
        self.handler = handler
        self.schemes = schemes
        self.session = session
        self.public_paths = frozenset(public_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self.public_paths:
            await self.app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope, receive)
        except ClientDisconnect:
            return  # there is no one to respond to
        except TakeoverError as error:
            rejection = await self._rejection(HTTPConnection(scope), error)
            await rejection(scope, receive, send)
            return
        scope["user"] = caller.user
        scope["csrf_token"] = caller.csrf_token
        await self.app(scope, caller.receive, send)

    async def _caller(self, scope: Scope, receive: Receive) -> Caller:
        name, _, credentials = Headers(scope=scope).get("authorization", "").partition(" ")
        scheme = self.schemes.get(name.lower())
        if not name and self.session:
            scheme, credentials = self.session, HTTPConnection(scope).cookies.get(SESSION_COOKIE, "")
        caller = await scheme(scope, receive, credentials) if scheme else None
        if caller is None:
            raise Unauthenticated
        return caller

    async def _rejection(self, request: HTTPConnection, error: TakeoverError) -> Response:
        if isinstance(error, Unauthenticated) and wants_html(request):
            here = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}".rstrip("?")
            query = f"?next={quote(here)}" if request.scope["method"] in SAFE_METHODS else ""
            return RedirectResponse(LOGIN_PAGE + query, 303)
        response = await self.handler(request, error)
        if error.kind is Kind.UNAUTHENTICATED and not _is_browser(request):
            response.headers["WWW-Authenticate"] = CHALLENGE
        return response


class BasicAuthentication:
    """Authenticates by user name and password, with brute-force protection (`login_throttling`)."""

    def __init__(self) -> None:
        self.passwords = PasswordVerifier()

    async def __call__(self, scope: Scope, receive: Receive, credentials: str) -> Caller | None:
        decoded = _decode_basic(credentials)
        user = await self.login(scope, *decoded) if decoded else None
        return Caller(user=user, receive=receive) if user else None

    async def login(self, scope: Scope, name: str, password: bytes) -> User | None:
        """Return the user with this name and password, None when one is wrong; raise LoginBlocked."""
        name = name if NAME.fullmatch(name) else UNKNOWN_USER
        database = _resources(scope).database
        user = await users.find(database, name) if name != UNKNOWN_USER else None
        hashed = user.password_hash if user and user.enabled else None
        if hashed and self.passwords.is_cached(password, hashed):
            return user
        attempt = Attempt(user=name, client=client_address(scope))
        async with self.passwords.slots:
            if hashed and self.passwords.is_cached(password, hashed):
                return user  # verified by another request while this one waited
            # Inside the semaphore: parallel attempts must not all pass before the first failure is counted.
            await login_throttling.raise_if_blocked(database, attempt)
            if await self.passwords.verify(password, hashed):
                await login_throttling.record_success(database, attempt)
                return user
            delay = await login_throttling.record_failure(database, attempt)
        await asyncio.sleep(delay)
        return None


async def authenticate_signature(scope: Scope, receive: Receive, credentials: str) -> Caller | None:
    """Authenticate a request signed with an access key; accept an unsafe method only once (replay protection).

    Raise SignatureUsed for a repeated one. With an Idempotency-Key it passes, marked in the scope, because it may get
    its stored response. Failures are not throttled, because the secrets are random. The body is read before the key is
    looked up, so the response to a large body does not reveal whether the key exists.
    """
    resources = _resources(scope)
    body = await requests.read_body(Headers(scope=scope), receive, resources.settings.body_limit)
    parts = ACCESS_KEY.fullmatch(credentials)
    found = await access_keys.find_enabled(resources.database, resources.secrets, parts[1]) if parts else None
    if not parts or not found:
        return None
    user, secret = found
    now = datetime.now(UTC)
    verified = verify(_signed_request(scope, body), parts[2], secret.get_secret_value(), now)
    if verified is None:
        return None
    if scope["method"] not in SAFE_METHODS and not await access_keys.use_signature(
        resources.database, parts[1], verified, now
    ):
        if requests.IDEMPOTENCY_KEY.name not in Headers(scope=scope):
            raise SignatureUsed
        scope[SIGNATURE_REPEATED] = True
    return Caller(user=user, receive=requests.replay_body(body, receive))


async def authenticate_session(scope: Scope, receive: Receive, token: str) -> Caller | None:
    """Authenticate a browser by its session; require the CSRF token for unsafe methods, raise CsrfCheckFailed."""
    resources = _resources(scope)
    user = await sessions.find_user(resources.database, token) if token else None
    if user is None:
        return None
    expected = sessions.csrf_token(token)
    if scope["method"] not in SAFE_METHODS:
        headers = Headers(scope=scope)
        body = await requests.read_body(headers, receive, resources.settings.body_limit)
        given = headers.get(CSRF_HEADER) or requests.form_fields(body).get(CSRF_FIELD, "")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise CsrfCheckFailed
        receive = requests.replay_body(body, receive)
    return Caller(user=user, receive=receive, csrf_token=expected)


def _is_browser(request: HTTPConnection) -> bool:
    """Return whether a browser sent the request; it would ask for the password with its own dialog.

    Browsers send `Sec-Fetch-*` over TLS and to localhost only; their User-Agent starts with Mozilla.
    """
    return (
        SESSION_COOKIE in request.cookies
        or any(name.startswith("sec-fetch-") for name in request.headers)
        or request.headers.get("user-agent", "").startswith("Mozilla/")
    )


def is_repeated(request: HTTPConnection) -> bool:
    """Return whether the request's signature was used before: then only a stored response may answer it."""
    return bool(request.scope.get(SIGNATURE_REPEATED))


def require_permission(request: HTTPConnection, permission: str) -> None:
    """Raise Forbidden when the user of the request does not have the permission (`access.roles`)."""
    if permission != PUBLIC and not permitted(request.user.roles, permission):
        including = ", ".join(role for role in Role if permitted([role], permission))
        raise Forbidden(user=request.user.name, permission=permission, roles=including)


def client_address(scope: Scope) -> str:
    """Return the address of the client; behind a trusted proxy the one that the proxy reports."""
    peer = scope.get("client")
    return str(peer[0]) if peer else ""


def _signed_request(scope: Scope, body: bytes) -> SignedRequest:
    return SignedRequest(
        method=scope["method"],
        path=scope["raw_path"],
        query=scope["query_string"],
        headers=scope["headers"],
        body=body,
    )


def _decode_basic(credentials: str) -> tuple[str, bytes] | None:
    try:
        given = base64.b64decode(credentials.strip().encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    name, colon, password = given.partition(b":")
    return (name.decode("utf-8", "replace"), password) if colon else None


def _resources(scope: Scope) -> Resources:
    resources: Resources = scope["app"].state.resources
    return resources
