"""Traces with OpenTelemetry, when a collector is configured. Otherwise OpenTelemetry is not imported.

The trace id of OCP (16 digits) is the lower half of OpenTelemetry's. Every task instance keeps it, so the spans of a
worker belong to the trace of the request, even hours later and on another machine.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from service.model.errors import SettingsInvalid

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

NAME = "obproxy-takeover"
EXPORT_TIMEOUT = 5.0  # seconds for sending a batch to the collector

Attribute = str | int


class _Traces:
    """The tracer of this process, if tracing is on."""

    provider: "TracerProvider | None" = None
    tracer: "Tracer | None" = None


def start(endpoint: str) -> None:
    """Start to send spans to the OTLP collector at `endpoint` (a URL, http://host:4318); "" = do not.

    Raise SettingsInvalid when OpenTelemetry is not installed. Variables OTEL_* have its other settings.
    """
    if not endpoint:
        return
    try:
        import opentelemetry.instrumentation.asgi  # noqa: F401 - what `spans` will need
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        reason = f"TAKEOVER_OTEL_ENDPOINT: {error.name} is missing; install obproxy-takeover[otel]"
        raise SettingsInvalid(reason=reason) from error
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT)
    provider = TracerProvider(resource=Resource.create({"service.name": NAME}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _Traces.provider, _Traces.tracer = provider, provider.get_tracer(NAME)


def tracer() -> "Tracer | None":
    """Return the tracer; None when tracing is off."""
    return _Traces.tracer


@asynccontextmanager
async def flushing() -> AsyncIterator[None]:
    """Send all remaining spans at the end of the block, and stop tracing."""
    try:
        yield
    finally:
        provider, _Traces.provider, _Traces.tracer = _Traces.provider, None, None
        if provider is not None:
            await asyncio.to_thread(provider.shutdown)


@contextmanager
def span(name: str, trace_id: str = "", **attributes: Attribute) -> Iterator[None]:
    """Trace the block as a span: child of the current span, or root span of the trace `trace_id` (OCP's)."""
    if _Traces.tracer is None:
        yield
        return
    from opentelemetry.trace import StatusCode

    started = _Traces.tracer.start_as_current_span(
        name,
        context=_root_context(trace_id),
        attributes=attributes,
        record_exception=False,  # text and stack are not for every reader of traces
        set_status_on_exception=False,
    )
    with started as current:
        try:
            yield
        except BaseException:
            current.set_status(StatusCode.ERROR)
            raise


def start_span(name: str, **attributes: Attribute) -> Callable[[bool], None]:
    """Start a child span; return a function that ends it, whose argument is whether it succeeded."""
    if _Traces.tracer is None:
        return lambda successful: None
    from opentelemetry.trace import StatusCode

    started = _Traces.tracer.start_span(name, attributes=attributes)

    def end(successful: bool) -> None:
        started.set_status(StatusCode.OK if successful else StatusCode.ERROR)
        started.end()

    return end


def traceparent(trace_id: str) -> str:
    """Return the `traceparent` header that makes a span the root of a trace; the parent span is never sent."""
    return f"00-{trace_id:0>32}-{trace_id}-01"


def _root_context(trace_id: str) -> "Context | None":
    if not trace_id:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent(trace_id)})
