"""Rejects requests whose end is ambiguous."""

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.envelope import error_response
from service.model.errors import AmbiguousLength

LENGTHS = frozenset({b"transfer-encoding", b"content-length"})


class FramingMiddleware:
    """Rejects a request with two lengths and closes its connection: servers disagree where it ends (RFC 9112 6.1)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and {name for name, _ in scope["headers"]} >= LENGTHS:
            rejection = error_response(HTTPConnection(scope), AmbiguousLength(), {"Connection": "close"})
            await rejection(scope, receive, send)
        else:
            await self.app(scope, receive, send)
