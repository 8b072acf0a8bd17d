"""Counts every answer, and how long its beginning took, for /metrics."""

import time
from collections.abc import Mapping

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observe.metrics import REQUEST_SECONDS, REQUESTS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # a caller may invent others


class Measuring:
    """Stands around everything else, so that refusals are counted as well."""

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
                # The beginning, since a stream of events has no end that would say anything.
                self._count(scope, message["status"], time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, send_measured)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        if self._paths is None:
            routes = (route for route in scope["app"].routes if isinstance(route, Route))
            self._paths = {route.endpoint: route.path for route in routes}
        method = scope["method"] if scope["method"] in METHODS else "other"
        # Never the path that was asked for: anybody could make as many labels of it as there is memory.
        route = self._paths.get(scope.get("endpoint"), "")
        REQUESTS.labels(method, route, str(status)).inc()
        REQUEST_SECONDS.labels(method, route).observe(seconds)
