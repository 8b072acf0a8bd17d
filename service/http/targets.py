"""Brings the targets of requests into one form before anything reads them."""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

TRAILING_SLASH = re.compile(r"(?<=[^/])/$")
ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]+)", re.IGNORECASE)


class TargetMiddleware:
    """Makes a path with a trailing slash the same resource as without, and reads absolute-form targets.

    Absolute-form: RFC 9112 3.2.2. `raw_path` keeps the slash, because signatures cover it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = _origin_form(scope)
            scope = {**scope, "path": TRAILING_SLASH.sub("", scope["path"])}
        await self.app(scope, receive, send)


def _origin_form(scope: Scope) -> Scope:
    """Return the scope of an absolute-form target with its path; the target's host replaces the Host header."""
    absolute = ABSOLUTE_FORM.match(scope["raw_path"])
    if not absolute:
        return scope
    host, path = absolute[1], scope["raw_path"][absolute.end() :] or b"/"
    return {
        **scope,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "headers": [(name, host if name == b"host" else value) for name, value in scope["headers"]],
    }
