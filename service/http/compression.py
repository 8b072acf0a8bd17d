"""Compresses responses of the API."""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

MINIMUM_SIZE = 2048  # bytes
LEVEL = 5  # of 9; the higher ones take several times as long for a few percent
SKIPPED = ("application/octet-stream", "text/event-stream")  # a zip; a stream that must not wait for more


class CompressionMiddleware:
    """Compresses responses below `/api/` and the OpenAPI document.

    Pages stay uncompressed (BREACH): they contain a CSRF token beside text of the client, and the compressed size would
    reveal it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.compressing = GZipMiddleware(
            app, minimum_size=MINIMUM_SIZE, compresslevel=LEVEL, exclude_content_types=SKIPPED
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        compresses = scope["type"] == "http" and scope["path"].startswith(("/api/", "/openapi.json"))
        await (self.compressing if compresses else self.app)(scope, receive, send)
