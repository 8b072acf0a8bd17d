"""A rollout whose worker is killed at any moment: every host ends, and each batch waits for the one before."""

import asyncio
import time
from itertools import batched, pairwise

import pytest

from service.model.requests import Request, RequestStatus
from service.model.rollout import Rollout
from service.model.settings import Settings
from service.model.states import TaskState
from service.runs import run
from service.store.database import fetch
from service.tasks import requests
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from service.worker import worker
from service.worker.expiry import EXPIRY_TIMEOUT, Expiry
from service.worker.leases import Leases
from tests.bench.stand_in import StandIn
from tests.integration.stand_in_worker import APPLICATION_NAME, working
from tests.integration.users import ADMIN

DEADLINE = 60.0  # seconds
HOSTS, BATCH = 12, 3
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Twelve hosts that may be taken over."""
    hosts = "".join(f"    odp-{n}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}\n" for n in range(1, HOSTS + 1))
    text = f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{hosts}"
    (settings.inventory / "hosts.yml").write_text(text)
    return settings.model_copy(update={"server_check_interval": 0.0})


async def ended(resources: Resources, request_id: int, number: int) -> Request:
    """Return the request as soon as so many of its hosts have ended."""
    async with asyncio.timeout(DEADLINE):
        while True:
            request = await requests.get(resources.database, request_id)
            if request.counts[TaskState.SUCCESSFUL] + request.counts[TaskState.FAILED] >= number:
                return request
            await asyncio.sleep(0.01)


async def later(resources: Resources) -> Leases:
    """Return leases that have observed those of the killed worker, and EXPIRY_TIMEOUT has passed since.

    The database may still execute the last statement of the killed worker.
    """
    async with asyncio.timeout(DEADLINE), resources.database.autocommit() as connection:
        while await (await connection.execute(SESSIONS, (APPLICATION_NAME,))).fetchone():
            await asyncio.sleep(0.01)
    passed = 0.0
    leases = Leases(resources.database)
    leases.expiry = Expiry(resources.database, clock=lambda: time.monotonic() + passed)
    await leases.expiry.observe()
    passed = EXPIRY_TIMEOUT
    return leases


@pytest.mark.parametrize("kills", [(0, 2, 5), (3, 4), (1, 6, 10)], ids=str)
async def test_a_rollout_survives_kills_of_its_worker(
    resources: Resources, settings: Settings, monkeypatch: pytest.MonkeyPatch, kills: tuple[int, ...]
) -> None:
    monkeypatch.setattr(worker, "RECOVERY_INTERVAL", 0.1)
    monkeypatch.setattr(run, "start", StandIn)
    hosts = [HostRequest(host_id=n, sql_port=2883) for n in range(1, HOSTS + 1)]
    policy = Rollout(batch_size=BATCH, max_failures=HOSTS)
    submitted = await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t", rollout=policy)
    request_id = submitted[0][0].request_id
    assert request_id is not None

    for number in kills:
        with working(settings) as process:
            await ended(resources, request_id, number)
            process.kill()
        late = await later(resources)
        monkeypatch.setattr(worker, "Leases", lambda _, late=late: late)
        left = (await requests.get(resources.database, request_id)).counts[TaskState.WAITING]
        async with worker.running(resources):
            await ended(resources, request_id, HOSTS - left)
    async with worker.running(resources):
        request = await ended(resources, request_id, HOSTS)

    assert request.status in (RequestStatus.SUCCESSFUL, RequestStatus.FAILED)
    assert request.counts[TaskState.FAILED] <= len(kills) * BATCH, "only runs of a killed worker fail"
    found = await requests.hosts(resources.database, request_id)
    assert all(host.reason.startswith("INTERRUPTED: ") for host in found if host.state is TaskState.FAILED)
    for before, after in pairwise(batched(found, BATCH)):
        last_end = max(host.finish_time for host in before if host.finish_time)
        assert all(host.start_time and last_end <= host.start_time for host in after)
    async with resources.database.autocommit() as connection:
        assert await fetch(connection, "running_tasks_without_job") == []
        assert await fetch(connection, "held_task_counts") == []
