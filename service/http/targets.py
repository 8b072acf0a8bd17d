"""Brings the targets of requests into one form before anything reads them."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

TRAILING_SLASH = re.compile(r"(?<=[^/])/$")


class TargetMiddleware:
    """Makes a path with a trailing slash the same resource as without.

    `raw_path` stays as received, because signatures cover it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": TRAILING_SLASH.sub("", scope["path"])}
        await self.app(scope, receive, send)
