"""What a process counts of its own work, for Prometheus. What all processes share is in the database: `measures`."""

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

# When a series began is a series of its own: twice as much for nobody.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

Info("takeover_build", "Which version this process is of", registry=REGISTRY).info({"version": __version__})

REQUESTS = Counter(
    "takeover_http_requests",
    "Requests that were answered, by the path of the route (empty: refused before one was found)",
    ("method", "route", "status"),
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "takeover_http_request_duration_seconds",
    "From the arrival of a request to the beginning of its answer",
    ("method", "route"),
    buckets=(0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
RUNS_HELD = Gauge("takeover_worker_runs", "Runs that this worker holds", registry=REGISTRY)
RUNS_ENDED = Counter("takeover_runs_ended", "Runs that have ended, by how", ("status",), registry=REGISTRY)
EVENTS = Counter("takeover_events", "Events of runs that were recorded", registry=REGISTRY)
EVENT_LAG_SECONDS = Histogram(
    "takeover_event_lag_seconds",
    "From Ansible's saying something to its being visible; of each batch the oldest event",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
SUBTASK_SECONDS = Histogram(
    "takeover_subtask_duration_seconds",
    "From the start of a subtask in a run to its end there, by its role",
    ("role", "status"),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
    registry=REGISTRY,
)
TASKS_ENDED = Counter(
    "takeover_task_instances_ended",
    "Task instances that have ended, by operation and status",
    ("operation", "status"),
    registry=REGISTRY,
)
HEALTH_CHECK_SECONDS = Histogram(
    "takeover_server_check_duration_seconds",
    "How long a round of checks of all OBProxy servers took",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
HEALTH_CHECK_RESULTS = Gauge(
    "takeover_server_check_answers",
    "How many OBProxy servers did or did not answer in this worker's last round",
    ("answer",),
    registry=REGISTRY,
)
DISCOVERIES = Counter(
    "takeover_server_looks", "Closer looks at OBProxy servers, by outcome", ("outcome",), registry=REGISTRY
)


def count_recorded_events(events: Sequence[Mapping[str, Any]]) -> None:
    """These events of a run are visible now. `created` is ISO 8601, in UTC without saying so."""
    EVENTS.inc(len(events))
    if not events:
        return
    try:
        created = datetime.fromisoformat(str(events[0].get("created")))
    except ValueError:  # a managed host may make up events
        return
    EVENT_LAG_SECONDS.observe(max(0.0, time.time() - created.replace(tzinfo=created.tzinfo or UTC).timestamp()))


@contextmanager
def metrics_server(host: str, port: int) -> Iterator[None]:
    """Answer GET /metrics at a port of this process's own, for one that answers nothing else; 0 = do not.

    Raises SettingsInvalid when the port cannot be had.
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
