"""Metrics of the whole service, read from the database at each scrape, and scrape targets for Prometheus.

Every API process reports the same values.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypedDict

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.model.fleet import ObproxyServer, ServerStatus
from service.model.tasks import Held, SubtaskStatus, TaskStatus
from service.model.types import JSON
from service.store.database import Database, fetch, fetch_as
from service.store.queue import QUEUE, RUN
from service.tasks.resources import Resources

Rows = Mapping[str, list[JSON]]

QUERIES = (
    "queue_statistics",
    "open_task_counts",
    "held_task_counts",
    "subtask_counts_of_running_tasks",
    "run_statistics",
    "worker_statistics",
    "server_counts",
    "health_check_round_age",
    "pending_host_discoveries",
)
PARAMETERS: JSON = {"queue": QUEUE, "task_name": RUN, "host_ids": None}
UNFINISHED = (TaskStatus.RUNNING, TaskStatus.FAILED)


async def read(resources: Resources) -> Rows:
    """Return the rows of each query by its name; raise psycopg.Error."""
    async with resources.database.transaction() as connection:
        return {query: await fetch(connection, query, **PARAMETERS) for query in QUERIES}


def render(rows: Rows | None, *, inventory_readable: bool) -> bytes:
    """Return the metrics in Prometheus' text format; `rows` is None when the database does not respond."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        _Families([*_availability_metrics(rows is not None, inventory_readable), *(_row_metrics(rows or {}))])
    )
    return generate_latest(registry)


class _Families(Collector):
    """Collects metric families that exist already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _availability_metrics(database: bool, inventory: bool) -> Iterator[Metric]:
    yield _gauge("database_up", "1 when the database responds, else 0", {(): database})
    yield _gauge("inventory_readable", "1 when the last read of the inventory succeeded, else 0", {(): inventory})


def _row_metrics(rows: Rows) -> Iterator[Metric]:
    if not rows:
        return
    (queue,), (runs,), (workers,), (check,) = (
        rows[query] for query in ("queue_statistics", "run_statistics", "worker_statistics", "health_check_round_age")
    )
    yield _gauge("queue_jobs", "Task instances in the queue", {(): queue["waiting"]})
    yield _gauge("queue_oldest_seconds", "Age of the oldest queued task instance, in seconds", {(): queue["oldest"]})
    yield _gauge(
        "task_instances",
        "Open task instances (running and not held, or failed and not superseded), by status",
        _by_status(rows["open_task_counts"], UNFINISHED),
        "status",
    )
    yield _gauge(
        "task_instances_held",
        "Task instances that do not start yet, by reason: their batch has not started, or too many hosts have failed",
        {(held,): 0 for held in Held} | {(row["held_by"],): row["total"] for row in rows["held_task_counts"]},
        "reason",
    )
    yield _gauge(
        "subtasks",
        "Subtasks of running task instances, by status",
        _by_status(rows["subtask_counts_of_running_tasks"], SubtaskStatus),
        "status",
    )
    yield _gauge("runs", "Runs in progress", {(): runs["alive"]})
    yield _gauge("run_renewal_age_seconds", "Age of the oldest lease renewal, in seconds", {(): runs["oldest"]})
    yield _gauge("workers", "Registered workers", {(): workers["workers"]})
    yield _gauge(
        "worker_heartbeat_age_seconds", "Age of the latest worker heartbeat, in seconds", {(): workers["youngest"]}
    )
    yield _gauge(
        "server_check_age_seconds",
        "Time since the start of the last round of health checks, in seconds",
        {(): check["age"]},
    )
    (discoveries,) = rows["pending_host_discoveries"]
    yield _gauge(
        "host_discoveries_pending", "Hosts whose discovery is requested and has not ended", {(): discoveries["total"]}
    )
    yield _servers(rows["server_counts"])
    yield _gauge(
        "obproxy_servers_pending_restart",
        "OBProxy servers with parameters that take effect only after a restart",
        {(row["cluster"],): row["pending"] for row in rows["server_counts"] if row["status"] is ServerStatus.RUNNING},
        "cluster",
    )


def _servers(rows: list[JSON]) -> Metric:
    """Return the server counts, with 0 for usual statuses without servers, so that no series goes stale."""
    usual = (ServerStatus.TAKINGOVER, ServerStatus.RUNNING, ServerStatus.UNAVAILABLE)
    values: dict[tuple[str, ...], float] = {(row["cluster"], status): 0 for row in rows for status in usual}
    values |= {(row["cluster"], row["status"]): row["servers"] for row in rows}
    return _gauge("obproxy_servers", "OBProxy servers by status", values, "cluster", "status")


def _by_status(rows: list[JSON], statuses: Iterable[str]) -> Mapping[tuple[str, ...], float]:
    return {(status,): 0 for status in statuses} | {(row["status"],): row["total"] for row in rows}


def _gauge(name: str, documentation: str, values: Mapping[tuple[str, ...], float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"takeover_{name}", documentation, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, float(value))
    return family


class Target(TypedDict):
    """Scrape targets with the same labels; always one target, as `host:port`."""

    targets: list[str]
    labels: dict[str, str]


async def targets(database: Database) -> list[Target]:
    """Return a target per managed OBProxy server whose exporter port is known, by id."""
    async with database.autocommit() as connection:
        servers = await fetch_as(connection, ObproxyServer, "servers_with_exporter")
    return [_target(server) for server in servers]


def _target(server: ObproxyServer) -> Target:
    """Return the target of a server. Properties that may change are meta labels, which Prometheus drops."""
    host = f"[{server.ip}]" if ":" in server.ip else server.ip
    return {
        "targets": [f"{host}:{server.exporter_port}"],
        "labels": {
            "obproxy_cluster": server.cluster_name,
            "obproxy_cluster_id": str(server.cluster_id),
            "obproxy_host": server.host_name,
            "obproxy_host_id": str(server.host_id),
            "obproxy_sql_port": str(server.sql_port),
            "__meta_obproxy_server_id": str(server.id),
            "__meta_obproxy_status": server.status,
            "__meta_obproxy_version": server.version or "",
        },
    }
