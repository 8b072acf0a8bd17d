"""Traces by OpenTelemetry, where a collector is named. Without one nothing of it is imported, and a span is nothing.

A trace's id is OCP's trace id of the request (16 digits, the lower half of OpenTelemetry's 32), which every task
instance keeps: so what a worker does hours later, on another machine, is part of the request's trace.
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
EXPORT_TIMEOUT = 5.0  # seconds that the collector has for a batch

Attribute = str | int


class _Traces:
    """This process's; there is one."""

    provider: "TracerProvider | None" = None
    tracer: "Tracer | None" = None


def start(endpoint: str) -> None:
    """Send spans to the OTLP collector at `endpoint` (its URL, http://host:4318) from now on; "" = do not.

    Raises SettingsInvalid when OpenTelemetry is not installed. Its other settings are its own variables (OTEL_*).
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
    """What makes spans; None = nobody wants any."""
    return _Traces.tracer


@asynccontextmanager
async def flushing() -> AsyncIterator[None]:
    """At the end everything that is left to send is sent, and there are no spans any more."""
    try:
        yield
    finally:
        provider, _Traces.provider, _Traces.tracer = _Traces.provider, None, None
        if provider is not None:
            await asyncio.to_thread(provider.shutdown)


@contextmanager
def span(name: str, trace_id: str = "", **attributes: Attribute) -> Iterator[None]:
    """A span around the block, below the current one, or with `trace_id` (OCP's) at the top of that trace."""
    if _Traces.tracer is None:
        yield
        return
    from opentelemetry.trace import StatusCode

    started = _Traces.tracer.start_as_current_span(
        name,
        context=_root_context(trace_id),
        attributes=attributes,
        record_exception=False,  # its text and its stack are not for everybody who may read traces
        set_status_on_exception=False,
    )
    with started as current:
        try:
            yield
        except BaseException:
            current.set_status(StatusCode.ERROR)
            raise


def start_span(name: str, **attributes: Attribute) -> Callable[[bool], None]:
    """A span below the current one that ends when the result is called, with whether it went well."""
    if _Traces.tracer is None:
        return lambda successful: None
    from opentelemetry.trace import StatusCode

    started = _Traces.tracer.start_span(name, attributes=attributes)

    def end(successful: bool) -> None:
        started.set_status(StatusCode.OK if successful else StatusCode.ERROR)
        started.end()

    return end


def traceparent(trace_id: str) -> str:
    """The `traceparent` header that puts a span at the top of the trace: the span that it names is never sent."""
    return f"00-{trace_id:0>32}-{trace_id}-01"


def _root_context(trace_id: str) -> "Context | None":
    if not trace_id:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent(trace_id)})
