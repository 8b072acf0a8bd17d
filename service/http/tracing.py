"""A span around each request that got a trace id, by OpenTelemetry's own middleware."""

from typing import Any

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.observe import tracing

REPLACED = (b"traceparent", b"tracestate")


class Spans:
    """Stands behind `Tracing`. A caller that wants a request in a trace of its own sends OCP's x-trace-id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = OpenTelemetryMiddleware(
            app, default_span_details=_details, exclude_spans=["receive", "send"], tracer=tracing.tracer()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "trace" in scope:
            headers = [(name, value) for name, value in scope["headers"] if name not in REPLACED]
            parent = tracing.traceparent(scope["trace"].id).encode()
            scope["headers"] = [*headers, (b"traceparent", parent)]  # in place: who stands outside looks at this scope
        await self.app(scope, receive, send)


def _details(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Name and attributes of a request's span: by its route, since ids in names make each span one of a kind."""
    routes = (route for route in scope["app"].routes if isinstance(route, Route))
    path = next((route.path for route in routes if route.matches(scope)[0] is Match.FULL), "")
    attributes = {"http.route": path, "takeover.trace_id": scope["trace"].id if "trace" in scope else ""}
    return f"{scope['method']} {path}".rstrip(), attributes
