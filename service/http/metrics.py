"""Metrics middleware: counts responses and their time to first byte, for /metrics."""

import time
from collections.abc import Mapping

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observe.metrics import REQUEST_SECONDS, REQUESTS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # others are counted as "other"


class MetricsMiddleware:
    """Measures every response. It is the outermost middleware, so that rejected requests are counted too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._paths: Mapping[object, str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()

        async def send_measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Time to first byte: the duration of an event stream depends on its client.
                self._count(scope, message["status"], time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, send_measured)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        if self._paths is None:
            routes = (route for route in scope["app"].routes if isinstance(route, Route))
            self._paths = {route.endpoint: route.path for route in routes}
        method = scope["method"] if scope["method"] in METHODS else "other"
        # The route, never the path: a caller could create an unlimited number of labels.
        route = self._paths.get(scope.get("endpoint"), "")
        REQUESTS.labels(method, route, str(status)).inc()
        REQUEST_SECONDS.labels(method, route).observe(seconds)
