"""Debian's Prometheus with the shipped configuration: finds the proxies that were taken over, and reads them."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.external_run_reports import run_report

from . import Lab, inventory
from .fixtures import StartHost
from .instance import free_ports
from .service import Service, running
from .traffic import held
from .tunnel import admin, query

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
DEADLINE = 120.0  # seconds anything may take at the most, on a machine that runs other tests

Json = dict[str, Any]


@pytest.fixture(scope="module")
def service(lab: Lab) -> Iterator[Service]:
    directory = lab.directory / "watched"  # with proxies of its own only
    directory.mkdir()
    with running(directory, lab.inventory, forked=True, server_check_interval="1") as started:
        yield started


@pytest.fixture(scope="module")
def prometheus(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a client of a Prometheus that watches the service as in deploy/prometheus, but more often."""
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "takeover-password").write_text(service.password, encoding="utf-8")
    (directory / "takeover.rules.yml").write_bytes((DEPLOY / "takeover.rules.yml").read_bytes())
    text = (DEPLOY / "prometheus.yml").read_text(encoding="utf-8")
    for shipped, here in (
        ("127.0.0.1:8080", service.url.removeprefix("http://")),
        ("username: prometheus", "username: admin"),
        ("_interval: 15s", "_interval: 1s"),
        ("refresh_interval: 30s", "refresh_interval: 1s"),
    ):
        assert shipped in text
        text = text.replace(shipped, here)
    (directory / "prometheus.yml").write_text(text, encoding="utf-8")
    with started(directory) as url, httpx.Client(base_url=url, timeout=10) as client:
        yield client


@contextmanager
def started(directory: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                "--config.file=prometheus.yml",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(DEADLINE)


def until[Found](look: Callable[[], Found], what: str) -> Found:
    """Return the result as soon as it is there."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            if found := look():
                return found
        except httpx.TransportError:  # Prometheus is starting
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def targets(prometheus: httpx.Client, job: str) -> dict[str, Json]:
    """Targets of a job by their address."""
    answer = prometheus.get("/api/v1/targets").json()
    return {
        target["labels"]["instance"]: target
        for target in answer["data"]["activeTargets"]
        if target["labels"]["job"] == job
    }


def values(prometheus: httpx.Client, expression: str) -> list[Json]:
    """Return the current value of an expression."""
    result: list[Json] = prometheus.get("/api/v1/query", params={"query": expression}).json()["data"]["result"]
    return result


def test_prometheus_finds_proxies_reads_them_and_loses_those_that_are_removed(
    lab: Lab, lab_host: StartHost, service: Service, prometheus: httpx.Client
) -> None:
    host, untouched = lab_host(), lab_host()
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        query(connection, "alter proxyconfig set prometheus_sync_interval = '1s'")
    until(lambda: targets(prometheus, "obproxy-takeover"), "the service is a target")
    assert targets(prometheus, "obproxy") == {}

    with service.client() as client:
        (task,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
        final = list(client.watch([task["id"]]))[-1][0]
    assert final["status"] == "SUCCESSFUL"

    address = f"{host.address}:2884"
    until(lambda: targets(prometheus, "obproxy").get(address, {}).get("health") == "up", "its exporter is read")
    assert list(targets(prometheus, "obproxy")) == [address], untouched.name
    with held(host):
        sessions = f'odp_current_session{{obproxy_host="{host.name}", obproxy_cluster="test", namespace="ODP"}}'
        (found, *_) = until(lambda: values(prometheus, sessions), "an OBProxy metric is there")
    assert found["metric"]["instance"] == address and found["metric"]["obproxy_host_id"] == str(host.host_id)
    assert not [label for label in found["metric"] if label.startswith("__meta")]

    roles = values(prometheus, 'takeover_subtask_duration_seconds_count{status="SUCCESSFUL"}')
    assert {role["metric"]["role"] for role in roles} >= {"prepare_obproxy_install", "register_obproxy_exporter"}
    assert len(roles) == 12
    until(lambda: values(prometheus, "takeover_obproxy_servers{status='RUNNING'} == 1"), "the service tells of it")

    body = run_report(playbook="rollback", hostId=host.host_id, sqlPort=host.sql_port)
    answer = httpx.post(
        f"{service.url}/api/v2/obproxy/externalRuns", json=body, auth=("admin", service.password), timeout=30
    )
    assert answer.json()["data"]["status"] == "SUCCESSFUL", answer.text
    until(lambda: not targets(prometheus, "obproxy"), "the target is gone")


def test_an_alert_fires_when_a_proxy_is_killed(lab_host: StartHost, service: Service, prometheus: httpx.Client) -> None:
    host = lab_host()
    with service.client() as client:
        (task,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
        assert list(client.watch([task["id"]]))[-1][0]["status"] == "SUCCESSFUL"

    host.run("pkill -9 -x obproxyd.sh; pkill -9 -x obproxy")

    alerts = 'ALERTS{alertname="ObproxyUnavailable", cluster="test"}'
    until(lambda: values(prometheus, alerts), "the alert is pending")
    exporter = f"{host.address}:2884"
    until(lambda: targets(prometheus, "obproxy").get(exporter, {}).get("health") == "down", "its exporter is gone")
