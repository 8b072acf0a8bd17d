"""The metrics of this process and of the database, and Prometheus' service discovery of the exporters."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from service.model.errors import SettingsInvalid
from service.observe import metrics
from service.store.queue import QUEUE, RUN
from service.tasks import instances
from service.tasks.resources import Resources
from tests.integration.http_helpers import take_over
from tests.lab.instance import free_ports

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "takeover.rules.yml"
EXPORTERS = "/api/v2/obproxy/exporters"
# The first task instance is open and has a run, the second has ended, the third is open. Only the job of the first one
# and another job are in the queue; that one has no event.
OTHER_WORK = (
    "UPDATE procrastinate_jobs SET status = 'succeeded' WHERE args ->> 'task_instance_id' = %(second)s::text",
    "UPDATE procrastinate_jobs SET queue_name = 'other' WHERE args ->> 'task_instance_id' = %(third)s::text",
    "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES (%(queue)s, 'other'), (%(queue)s, %(run)s)",
    "DELETE FROM procrastinate_events USING procrastinate_jobs j WHERE job_id = j.id AND j.args = '{}'",
    "INSERT INTO procrastinate_events (job_id, type, at)"
    " SELECT id, type::procrastinate_job_event_type, now() - age::interval"
    " FROM procrastinate_jobs, (VALUES (%(first)s, 'deferred', '0'), (%(first)s, 'cancelled', '1 hour'),"
    " (%(second)s, 'deferred', '1 hour')) AS event (task_id, type, age)"
    " WHERE args ->> 'task_instance_id' = task_id::text",
    "UPDATE task_instance SET status = 'SUCCESSFUL', finish_time = now() WHERE id = %(second)s",
    "INSERT INTO run (ident, task_instance_id, executor, finish_time)"
    " SELECT gen_random_uuid(), task_id, 'a', finish_time"
    " FROM (VALUES (%(first)s, NULL), (%(second)s, NULL), (%(first)s, now())) AS run (task_id, finish_time)",
    "UPDATE obproxy_server SET status = 'RUNNING' WHERE host_id = 2",
)


@pytest.fixture
def resources(app: Starlette) -> Resources:
    """Return the resources of the application."""
    opened: Resources = app.state.resources
    return opened


async def families(client: httpx.AsyncClient) -> dict[str, Metric]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


async def value(client: httpx.AsyncClient, name: str, **labels: str) -> float | None:
    """Of the sample with exactly these labels; None = there is none."""
    samples = [sample for family in (await families(client)).values() for sample in family.samples]
    found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return found[0] if found else None


async def managed(resources: Resources, host_id: int, status: str) -> None:
    """Make the server on a host managed, as a takeover does."""
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE obproxy_server SET status = %(status)s::server_status, version = '4.3.1.0-1', exporter_port = 2884,"
            """ learned = '{"pending_restart": ["work_thread_num"]}' WHERE host_id = %(host_id)s""",
            {"status": status, "host_id": host_id},
        )


async def test_requests_are_counted_by_route_never_by_path(client: httpx.AsyncClient) -> None:
    labels = {"method": "GET", "route": "/api/v2/tasks/instances/{taskInstanceId}", "status": "404"}
    before = await value(client, "takeover_http_requests_total", **labels) or 0

    for task_id in range(101, 104):
        await client.get(f"/api/v2/tasks/instances/{task_id}")
    for path in ("/no/such/path", "/api/v2/tasks/instances/1/nothing"):
        await client.get(path)
    await client.request("BREW", "/api/v2/info")
    await client.get("/api/v2/info", auth=("nobody", "wrong"))

    assert await value(client, "takeover_http_requests_total", **labels) == before + 3
    text = (await client.get("/metrics")).text
    assert "/no/such" not in text and "BREW" not in text and "instances/101" not in text
    for refused in ("404", "401"):
        assert f'takeover_http_requests_total{{method="GET",route="",status="{refused}"}}' in text
    bucket = {"method": "GET", "route": labels["route"], "le": "+Inf"}
    assert (await value(client, "takeover_http_request_duration_seconds_bucket", **bucket) or 0) >= 3


async def test_metrics_from_the_database_cover_all_processes(client: httpx.AsyncClient, resources: Resources) -> None:
    await take_over(client, 1, 2, 3)
    await managed(resources, 1, "RUNNING")
    await managed(resources, 2, "UNAVAILABLE")

    for name, labels, expected in (
        ("takeover_database_up", {}, 1),
        ("takeover_inventory_readable", {}, 1),
        ("takeover_queue_jobs", {}, 3),
        ("takeover_task_instances", {"status": "RUNNING"}, 3),
        ("takeover_task_instances", {"status": "FAILED"}, 0),
        ("takeover_subtasks", {"status": "READY"}, 3),
        ("takeover_subtasks", {"status": "PENDING"}, 33),
        ("takeover_subtasks", {"status": "CANCELING"}, 0),
        ("takeover_runs", {}, 0),
        ("takeover_workers", {}, 0),
        ("takeover_obproxy_servers", {"cluster": "test", "status": "RUNNING"}, 1),
        ("takeover_obproxy_servers", {"cluster": "test", "status": "UNAVAILABLE"}, 1),
        ("takeover_obproxy_servers", {"cluster": "test", "status": "TAKINGOVER"}, 1),
        ("takeover_obproxy_servers_pending_restart", {"cluster": "test"}, 1),
    ):
        assert await value(client, name, **labels) == expected, (name, labels)
    oldest = await value(client, "takeover_queue_oldest_seconds")
    assert oldest is not None and 0 < oldest < 60


async def test_only_open_work_counts(client: httpx.AsyncClient, resources: Resources) -> None:
    third, second, first = (task["id"] for task in await take_over(client, 1, 2, 3))
    ids = {"first": first, "second": second, "third": third, "queue": QUEUE, "run": RUN}
    async with resources.database.transaction() as connection:
        for statement in OTHER_WORK:
            await connection.execute(statement, ids)
    await managed(resources, 1, "RUNNING")

    assert await value(client, "takeover_queue_jobs") == 2
    oldest = await value(client, "takeover_queue_oldest_seconds")
    assert oldest is not None and oldest < 3000
    assert await value(client, "takeover_runs") == 2
    assert await value(client, "takeover_obproxy_servers", cluster="test", status="RUNNING") == 2
    assert await value(client, "takeover_obproxy_servers_pending_restart", cluster="test") == 1
    assert await instances.count_open(resources.database) == instances.OpenCounts(running=1, waiting=1, failed=0)
    for change, running, held in (
        ("UPDATE task_instance SET status = 'RUNNING' WHERE id = %(third)s", 2, 0),
        (
            "UPDATE task_instance SET status = 'FAILED', finish_time = now(), superseded_by = %(first)s"
            " WHERE id = %(third)s",
            1,
            0,
        ),
        (
            "UPDATE task_instance SET status = 'RUNNING', finish_time = NULL, superseded_by = NULL, held_by = 'ROLLOUT'"
            " WHERE id = %(third)s",
            1,
            1,
        ),
    ):
        async with resources.database.transaction() as connection:
            await connection.execute(change, ids)
        assert await value(client, "takeover_task_instances", status="RUNNING") == running, change
        assert await value(client, "takeover_task_instances", status="FAILED") == 0, change
        assert await value(client, "takeover_task_instances", status="SUCCESSFUL") is None
        assert await value(client, "takeover_task_instances_held", reason="ROLLOUT") == held, change
        assert await value(client, "takeover_subtasks", status="READY") == running, change


async def test_a_lost_database_is_reported(client: httpx.AsyncClient, resources: Resources) -> None:
    await client.get("/metrics")  # the password is remembered from here on, but the user is looked up
    text = (await client.get("/health/live")).text
    assert text == "alive"

    await resources.database.pool.close()

    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.text) == (503, "not ready: the database does not answer")
    assert (await client.get("/health/live")).status_code == 200


async def test_exporters_of_managed_servers_are_targets(client: httpx.AsyncClient, resources: Resources) -> None:
    await take_over(client, 1, 2, 3)
    assert (await client.get(EXPORTERS)).json() == []
    await managed(resources, 1, "RUNNING")
    await managed(resources, 2, "UNAVAILABLE")

    answer = await client.get(EXPORTERS)

    assert answer.headers["content-type"] == "application/json"
    running, unavailable = answer.json()
    assert running == {
        "targets": ["192.0.2.11:2884"],
        "labels": {
            "obproxy_cluster": "test",
            "obproxy_cluster_id": "1",
            "obproxy_host": "odp-1",
            "obproxy_host_id": "1",
            "obproxy_sql_port": "2883",
            "__meta_obproxy_server_id": running["labels"]["__meta_obproxy_server_id"],
            "__meta_obproxy_status": "RUNNING",
            "__meta_obproxy_version": "4.3.1.0-1",
        },
    }
    assert unavailable["labels"]["__meta_obproxy_status"] == "UNAVAILABLE"


async def test_an_address_of_ipv6_is_in_brackets(client: httpx.AsyncClient, resources: Resources) -> None:
    await take_over(client, 1)
    await managed(resources, 1, "RUNNING")
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE obproxy_server SET ip = '2001:db8::1'")

    assert (await client.get(EXPORTERS)).json()[0]["targets"] == ["[2001:db8::1]:2884"]


def test_a_worker_answers_at_its_own_port_and_leaves_it() -> None:
    (port,) = free_ports(1)
    with metrics.metrics_server("127.0.0.1", port):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", "/metrics")
            assert b"takeover_build_info" in connection.getresponse().read()
        with (
            pytest.raises(SettingsInvalid, match="TAKEOVER_WORKER_METRICS_PORT: "),
            metrics.metrics_server("127.0.0.1", port),
        ):
            pass
    with metrics.metrics_server("127.0.0.1", port):
        pass


def test_invented_times_of_a_managed_host_are_not_lag() -> None:
    before = metrics.EVENT_LAG_SECONDS._sum.get()

    for created in (None, 17, "yesterday", "2021-09-03"):
        metrics.count_recorded_events([{"created": created}])
    metrics.count_recorded_events([])
    metrics.count_recorded_events([{"created": "2999-01-01T00:00:00"}])

    assert metrics.EVENT_LAG_SECONDS._sum.get() - before < 60 * 60 * 24 * 365 * 100


def used_names() -> Iterator[str]:
    """Yield the names of the metrics in the dashboard and the alert rules."""
    dashboard = json.loads((DEPLOY / "grafana" / "takeover.json").read_text(encoding="utf-8"))
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for text in [*texts, RULES.read_text(encoding="utf-8")]:
        yield from re.findall(r"\b(?:takeover|process)_[a-z_]+", text)


async def test_dashboard_and_rules_use_metrics_that_there_are(client: httpx.AsyncClient, resources: Resources) -> None:
    await take_over(client, 1)
    samples: set[str] = set()
    for family in (await families(client)).values():
        samples |= {sample.name for sample in family.samples}
        if family.type in ("counter", "histogram"):  # without a sample as long as nothing was counted
            samples |= {f"{family.name}_{end}" for end in ("total", "bucket", "sum", "count")}
        samples.add(family.name)

    used = set(used_names())
    assert len(used) > 20
    assert used <= samples | {"takeover_build_info"}
    # And the other way round: all that there is can be seen.
    shown = {name.removesuffix("_total").removesuffix("_bucket") for name in used}
    ours = {name for name in (await families(client)) if name.startswith("takeover_")}
    assert ours <= shown | {"takeover_build"}


def test_promtool_takes_the_rules_and_the_configuration(tmp_path: Path) -> None:
    for file in (DEPLOY / "prometheus").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "takeover-password").write_text("x", encoding="utf-8")

    done = subprocess.run(
        ["promtool", "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 rules found" in done.stdout
