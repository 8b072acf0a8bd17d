"""Who calls: HTTP Basic as the administrator, checked before anything else happens (facts/ocp-api.md 5.1, 5.5)."""

import base64
import binascii
import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Unauthenticated
from service.responses import failure

ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class User:
    """Who a request acts as."""

    name: str


Scheme = Callable[[str], User | None]
"""From what follows the scheme's word in the Authorization header to the user; None when it proves nobody."""


class Authentication:
    """Lets only known users through, as `scope["user"]`; `open_paths` need none.

    `schemes` maps the first word of the Authorization header, in lower case, to what verifies the rest. It is not
    Starlette's AuthenticationMiddleware because that lets strangers through for every endpoint to refuse.
    """

    def __init__(self, app: ASGIApp, *, schemes: Mapping[str, Scheme], open_paths: Collection[str]) -> None:
        self.app = app
        self.schemes = schemes
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self.open_paths:
            await self.app(scope, receive, send)
            return
        user = self._user(Headers(scope=scope).get("authorization", ""))
        if user is None:
            # No WWW-Authenticate: OCP sends none (facts/ocp-api.md 5.5), and a browser would ask with its own dialog.
            await failure(HTTPConnection(scope), Unauthenticated())(scope, receive, send)
            return
        scope["user"] = user
        await self.app(scope, receive, send)

    def _user(self, authorization: str) -> User | None:
        word, _, credentials = authorization.partition(" ")
        scheme = self.schemes.get(word.lower())
        return scheme(credentials) if scheme else None


class Basic:
    """The administrator with the password that `password_file` holds now: a changed file counts at once."""

    def __init__(self, password_file: Path) -> None:
        self.password_file = password_file

    def __call__(self, credentials: str) -> User | None:
        try:
            given = base64.b64decode(credentials.strip().encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
        password = self.password_file.read_bytes().strip()
        right = hmac.compare_digest(given, f"{ADMIN}:".encode() + password)
        return User(name=ADMIN) if right and password else None  # an emptied file lets nobody in
