"""Tracing costs nothing when it is off; when it is on without OpenTelemetry, the start fails with a message."""

import subprocess
import sys

import pytest

from service.model.errors import SettingsInvalid
from service.observe import tracing


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    program = (
        "import sys, service.cli.main, service.observe.tracing as tracing; from service.app import create_app;"
        " from service.model.settings import Settings; tracing.start(''); create_app(Settings());"
        " print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_span_without_tracing_is_nothing() -> None:
    with tracing.span("job", "0123456789abcdef", task_instance_id=1):
        tracing.start_span("subtask", role="x")(True)
    with pytest.raises(KeyError), tracing.span("job"):
        raise KeyError
    assert tracing.tracer() is None


def test_a_collector_without_opentelemetry_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)

    with pytest.raises(SettingsInvalid, match=r"TAKEOVER_OTEL_ENDPOINT: .*; install obproxy-takeover\[otel\]"):
        tracing.start("http://127.0.0.1:4318")


def test_a_trace_begins_below_a_span_that_is_never_sent() -> None:
    assert tracing.traceparent("c9c73aea31764206") == "00-0000000000000000c9c73aea31764206-c9c73aea31764206-01"
