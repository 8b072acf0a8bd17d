"""Who calls: checked before anything else happens (docs/reference/ocp-api.md 5).

HTTP Basic with a user's name and password, a request signed with an access key, or the cookie of a session. What is
wrong with any is never said: every refusal is the same. A browser that asks for a page is sent to log in instead.
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
from service.access.errors import CsrfCheckFailed, Forbidden, Unauthenticated
from service.access.login_throttling import Attempt
from service.access.passwords import PasswordVerifier
from service.access.request_signatures import SignedRequest, verify
from service.access.roles import PUBLIC, permitted
from service.access.users import NAME, User
from service.http import requests
from service.http.envelope import failure, wants_page
from service.model.errors import TakeoverError
from service.tasks.resources import Resources

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ACCESS_KEY = re.compile(r"([A-Za-z0-9]{16}):(\S+)")
COOKIE = "session"
FORM_TOKEN = "form_token"  # noqa: S105 - the field of a form that proves it ours
FORM_HEADER = "X-Form-Token"  # the same for a script's request
LOGIN_PAGE = "/login"
NOBODY = "?"  # no user's name: what failures are counted for when the name given can be nobody's


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, and what is left to read of the request."""

    user: User
    receive: Receive
    form_token: str = ""


Scheme = Callable[[Scope, Receive, str], Awaitable[Caller | None]]
"""From a request and what follows the scheme's word in its Authorization header to the caller; None proves nobody.
A session's is what its cookie holds.

May raise a TakeoverError instead, which is then the answer.
"""


class Authentication:
    """Lets only known users through, as `scope["user"]`; `open_paths` need none.

    `schemes` maps the first word of the Authorization header, in lower case, to what verifies the rest; `session` is
    for those who have no such header, but maybe a cookie. It is not Starlette's AuthenticationMiddleware because that
    lets strangers through for every endpoint to refuse.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        schemes: Mapping[str, Scheme],
        open_paths: Collection[str],
        session: Scheme | None = None,
    ) -> None:
        self.app = app
        self.schemes = schemes
        self.session = session
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self.open_paths:
            await self.app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope, receive)
        except ClientDisconnect:
            return  # it hung up while its body was read
        except TakeoverError as error:
            # No WWW-Authenticate: OCP sends none (docs/reference/ocp-api.md 5.5), and a browser would ask with its own
            # dialog.
            await _refusal(HTTPConnection(scope), error)(scope, receive, send)
            return
        scope["user"] = caller.user
        scope[FORM_TOKEN] = caller.form_token
        await self.app(scope, caller.receive, send)

    async def _caller(self, scope: Scope, receive: Receive) -> Caller:
        word, _, credentials = Headers(scope=scope).get("authorization", "").partition(" ")
        scheme = self.schemes.get(word.lower())
        if not word and self.session:
            scheme, credentials = self.session, HTTPConnection(scope).cookies.get(COOKIE, "")
        caller = await scheme(scope, receive, credentials) if scheme else None
        if caller is None:
            raise Unauthenticated
        return caller


class Basic:
    """A user's name and password. Failures are counted, wait, and block (`logins`)."""

    def __init__(self) -> None:
        self.passwords = PasswordVerifier()

    async def __call__(self, scope: Scope, receive: Receive, credentials: str) -> Caller | None:
        given = _name_and_password(credentials)
        user = await self.login(scope, *given) if given else None
        return Caller(user=user, receive=receive) if user else None

    async def login(self, scope: Scope, name: str, password: bytes) -> User | None:
        """The user of this name with this password, None when that is nobody; raises LoginBlocked."""
        name = name if NAME.fullmatch(name) else NOBODY
        database = _resources(scope).database
        user = await users.find(database, name) if name != NOBODY else None
        hashed = user.password_hash if user and user.enabled else None
        if hashed and self.passwords.is_cached(password, hashed):
            return user
        attempt = Attempt(user=name, client=client(scope))
        async with self.passwords.slots:
            if hashed and self.passwords.is_cached(password, hashed):
                return user  # another request with it was checked while this one waited
            # In its turn, so that many attempts at once are not all let through before the first one counts.
            await login_throttling.raise_if_blocked(database, attempt)
            if await self.passwords.verify(password, hashed):
                await login_throttling.record_success(database, attempt)
                return user
            delay = await login_throttling.record_failure(database, attempt)
        await asyncio.sleep(delay)
        return None


async def signed(scope: Scope, receive: Receive, credentials: str) -> Caller | None:
    """A request signed with an access key; one that changes something only once.

    Nothing blocks here: the secrets are not guessable. The body is read for any key, so that its limit tells nothing.
    """
    resources = _resources(scope)
    body = await requests.read_body(Headers(scope=scope), receive, resources.settings.body_limit)
    parts = ACCESS_KEY.fullmatch(credentials)
    found = await access_keys.find_enabled(resources.database, resources.secrets, parts[1]) if parts else None
    if not parts or not found:
        return None
    user, secret = found
    proof = verify(_covered(scope, body), parts[2], secret.get_secret_value(), datetime.now(UTC))
    if proof is None:
        return None
    if scope["method"] not in SAFE_METHODS and not await access_keys.use_signature(resources.database, parts[1], proof):
        return None
    return Caller(user=user, receive=requests.replay_body(body, receive))


async def in_session(scope: Scope, receive: Receive, token: str) -> Caller | None:
    """A browser that has logged in. What changes something must come from a page of ours, not merely with a cookie."""
    resources = _resources(scope)
    user = await sessions.find_user(resources.database, token) if token else None
    if user is None:
        return None
    expected = sessions.csrf_token(token)
    if scope["method"] not in SAFE_METHODS:
        headers = Headers(scope=scope)
        body = await requests.read_body(headers, receive, resources.settings.body_limit)
        given = headers.get(FORM_HEADER) or requests.form_fields(body).get(FORM_TOKEN, "")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise CsrfCheckFailed
        receive = requests.replay_body(body, receive)
    return Caller(user=user, receive=receive, form_token=expected)


def _refusal(request: HTTPConnection, error: TakeoverError) -> Response:
    if isinstance(error, Unauthenticated) and wants_page(request):
        here = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}".rstrip("?")
        wanted = f"?next={quote(here)}" if request.scope["method"] in SAFE_METHODS else ""
        return RedirectResponse(LOGIN_PAGE + wanted, 303)
    return failure(request, error)


def demand(request: HTTPConnection, needed: str) -> None:
    """Raise Forbidden when the request's user lacks what is needed (see `permissions`)."""
    if needed != PUBLIC and not permitted(request.user.roles, needed):
        raise Forbidden


def client(scope: Scope) -> str:
    """The address a request comes from; behind a trusted proxy the one that the proxy says."""
    peer = scope.get("client")
    return str(peer[0]) if peer else ""


def _covered(scope: Scope, body: bytes) -> SignedRequest:
    return SignedRequest(
        method=scope["method"],
        path=scope["raw_path"],
        query=scope["query_string"],
        headers=scope["headers"],
        body=body,
    )


def _name_and_password(credentials: str) -> tuple[str, bytes] | None:
    try:
        given = base64.b64decode(credentials.strip().encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    name, colon, password = given.partition(b":")
    return (name.decode("utf-8", "replace"), password) if colon else None


def _resources(scope: Scope) -> Resources:
    resources: Resources = scope["app"].state.resources
    return resources
