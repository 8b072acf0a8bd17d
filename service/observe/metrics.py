"""Metrics of this process, for Prometheus. Metrics of the whole service are in `fleet.prometheus`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from service import __version__
from service.model.errors import SettingsInvalid

# Without the *_created series, which would double the number of series.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

Info("takeover_build", "Version of this process", registry=REGISTRY).info({"version": __version__})

REQUESTS = Counter(
    "takeover_http_requests",
    "HTTP requests, by path of the route (empty: rejected before routing), method and status",
    ("method", "route", "status"),
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "takeover_http_request_duration_seconds",
    "Time from the arrival of a request to the start of its response, in seconds",
    ("method", "route"),
    buckets=(0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
RUNS_HELD = Gauge("takeover_worker_runs", "Runs of this worker in progress", registry=REGISTRY)
RUNS_ENDED = Counter("takeover_runs_ended", "Ended runs, by status", ("status",), registry=REGISTRY)
EVENTS = Counter("takeover_events", "Recorded events of runs", registry=REGISTRY)
EVENT_LAG_SECONDS = Histogram(
    "takeover_event_lag_seconds",
    "Time from an event in Ansible until it is visible, in seconds; the oldest event of each batch",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
SUBTASK_SECONDS = Histogram(
    "takeover_subtask_duration_seconds",
    "Duration of a subtask in a run, in seconds, by role and status",
    ("role", "status"),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
    registry=REGISTRY,
)
TASKS_ENDED = Counter(
    "takeover_task_instances_ended",
    "Ended task instances, by operation and status",
    ("operation", "status"),
    registry=REGISTRY,
)
HEALTH_CHECK_SECONDS = Histogram(
    "takeover_server_check_duration_seconds",
    "Duration of a round of health checks of all OBProxy servers, in seconds",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
HEALTH_CHECK_RESULTS = Gauge(
    "takeover_server_check_answers",
    "OBProxy servers by result of the last round of health checks of this worker",
    ("answer",),
    registry=REGISTRY,
)
DISCOVERIES = Counter(
    "takeover_server_looks", "Discoveries of OBProxy servers, by outcome", ("outcome",), registry=REGISTRY
)

HOST_DISCOVERIES = Counter(
    "takeover_host_discoveries", "Ended discoveries of hosts, by outcome", ("outcome",), registry=REGISTRY
)


def count_recorded_events(events: Sequence[Mapping[str, Any]]) -> None:
    """Count the recorded events of a run. Their `created` is a UTC time in ISO 8601, without an offset."""
    EVENTS.inc(len(events))
    if not events:
        return
    try:
        created = datetime.fromisoformat(str(events[0].get("created")))
    except ValueError:  # a managed host may forge events
        return
    EVENT_LAG_SECONDS.observe(max(0.0, time.time() - created.replace(tzinfo=created.tzinfo or UTC).timestamp()))


@contextmanager
def metrics_server(host: str, port: int) -> Iterator[None]:
    """Serve GET /metrics at a port of its own, for a process without an API; 0 = do not.

    Raise SettingsInvalid when the port cannot be bound.
    """
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, host, REGISTRY)
    except OSError as error:
        raise SettingsInvalid(reason=f"TAKEOVER_WORKER_METRICS_PORT: {host}:{port}: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
