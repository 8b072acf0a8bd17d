"""OpenTelemetry span of each request that has a trace id."""

from typing import Any

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.observe import tracing

TRACE_CONTEXT_HEADERS = (b"traceparent", b"tracestate")


class SpanMiddleware:
    """Wraps OpenTelemetry's middleware, inside TraceIdMiddleware: the trace id of a span is the caller's x-trace-id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = OpenTelemetryMiddleware(
            app, default_span_details=_details, exclude_spans=["receive", "send"], tracer=tracing.tracer()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "trace" in scope:
            headers = [(name, value) for name, value in scope["headers"] if name not in TRACE_CONTEXT_HEADERS]
            parent = tracing.traceparent(scope["trace"].id).encode()
            scope["headers"] = [*headers, (b"traceparent", parent)]  # in place: outer middleware uses this scope
        await self.app(scope, receive, send)


def _details(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Return name and attributes of a span. The name has the route instead of the path, to keep cardinality low."""
    routes = (route for route in scope["app"].routes if isinstance(route, Route))
    path = next((route.path for route in routes if route.matches(scope)[0] is Match.FULL), "")
    attributes = {"http.route": path, "takeover.trace_id": scope["trace"].id if "trace" in scope else ""}
    return f"{scope['method']} {path}".rstrip(), attributes
