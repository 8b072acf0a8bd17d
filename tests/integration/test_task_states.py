"""Lists of the task instances in one state, on the page and by the API."""

import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from service.model.rollout import Rollout
from service.model.states import TaskState
from service.model.workflow import TAKEOVER
from service.pages.tasks import STATES
from service.store.database import execute
from service.tasks import operations
from service.tasks.resources import Resources
from tests.integration import sample_tasks
from tests.integration.test_http_task_list import browser, failed, resources

__all__ = ["browser", "resources"]


@pytest.fixture(autouse=True)
def inventory(inventory_file: Path) -> None:
    """Hosts that may be taken over."""
    hosts = "".join(f"    odp-{n}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}\n" for n in range(1, 20))
    inventory_file.write_text(f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{hosts}")


async def in_every_state(resources: Resources) -> Mapping[TaskState, set[int]]:
    """Make a task instance in every state, and return the hosts of each state."""
    roles = resources.workflows[TAKEOVER].roles
    await failed(resources, 1)
    await sample_tasks.take_over(resources, 1)  # supersedes the first
    await failed(resources, 2)
    rolled_back = await failed(resources, 3)
    await operations.rollback_task(resources, rolled_back)
    await sample_tasks.advance(resources, rolled_back, [roles[0]])
    await sample_tasks.advance(resources, await sample_tasks.take_over(resources, 4), roles)
    await sample_tasks.advance(resources, await sample_tasks.take_over(resources, 5), [], running=roles[0])
    blocker, blocked = [await sample_tasks.take_over(resources, host) for host in (6, 7)]
    await sample_tasks.submit_request(resources, (8, 9), Rollout(canary=1))
    stopped = await sample_tasks.submit_request(resources, (10, 11), Rollout(canary=1))
    await sample_tasks.advance(resources, stopped[0], [], roles[0], "It is full.")
    async with resources.database.transaction() as connection:
        await execute(connection, "insert_run", ident="6f1ed002-ab5b-4b39-8e0c-2f1d5f5b3f6a", task_id=blocker,
                      executor=resources.executor)  # fmt: skip
        for task_id, status in ((blocker, "doing"), (blocked, "todo")):
            await connection.execute(
                "UPDATE procrastinate_jobs SET lock = 'host-6', status = %s "
                "WHERE (args ->> 'task_instance_id')::bigint = %s",
                (status, task_id),
            )
    return {
        TaskState.SUPERSEDED: {1},
        TaskState.QUEUED: {1, 8},
        TaskState.FAILED: {2, 10},
        TaskState.ROLLED_BACK: {3},
        TaskState.SUCCESSFUL: {4},
        TaskState.RUNNING: {5, 6},
        TaskState.WAITING_FOR_HOST: {7},
        TaskState.WAITING: {9},
        TaskState.NOT_STARTED: {11},
    }


async def test_the_list_shows_the_tasks_in_one_state(browser: httpx.AsyncClient, resources: Resources) -> None:
    expected = await in_every_state(resources)
    assert set(STATES) == set(TaskState)

    for state, hosts in expected.items():
        page = (await browser.get(f"/tasks?state={state}")).text
        listed = (await browser.get(f"/api/v2/tasks/instances?state={state}")).json()["data"]

        assert {int(number) for number in re.findall(r'href="/hosts/(\d+)"', page)} == hosts, state
        assert {task["state"] for task in listed["contents"]} == {state}
        assert listed["page"]["totalElements"] == len(hosts)
        assert re.search(rf'href="/tasks\?state={state}" aria-current="true"', page)


async def test_a_state_and_other_filters_apply_together(browser: httpx.AsyncClient, resources: Resources) -> None:
    await in_every_state(resources)

    async def total(query: str) -> int:
        listed = await browser.get(f"/api/v2/tasks/instances?{query}")
        found: int = listed.json()["data"]["page"]["totalElements"]
        return found

    assert await total("state=FAILED&hostName=odp-10") == 1
    assert await total("state=QUEUED&hostName=odp-8") == 1
    assert await total("state=FAILED&status=RUNNING") == 0
    assert await total("state=QUEUED&status=SUCCESSFUL") == 0
    assert await total("state=SUPERSEDED&status=FAILED") == 1
    assert (await browser.get("/api/v2/tasks/instances?state=BROKEN")).status_code == 400
