"""Operations on a request: what each host allows, and what the response names."""

from typing import Any

import httpx
import pytest

from service.model.workflow import TAKEOVER
from service.tasks import operations, request_operations
from service.tasks.errors import OperationNotAllowed
from service.tasks.request_operations import CANCELED_MESSAGE
from service.tasks.resources import Resources
from service.worker import job
from service.worker.leases import Leases
from tests.integration.fetched_jobs import claimed
from tests.integration.http_helpers import assert_envelope, assert_failure, assert_sorted, take_over
from tests.integration.sample_tasks import advance

REQUEST = "/api/v2/obproxy/requests/1"
TASKS = "/api/v2/tasks/instances"
Body = dict[str, Any]


async def operate(client: httpx.AsyncClient, verb: str) -> Body:
    answer = await client.post(f"{REQUEST}/{verb}")
    assert answer.status_code == 200, answer.text
    data: Body = assert_envelope(answer)["data"]
    assert_sorted(data)
    return data


async def states(client: httpx.AsyncClient) -> dict[int, str]:
    data = (await client.get(REQUEST)).json()["data"]
    return {host["hostId"]: host["state"] for host in data["hosts"]}


def accepted(result: Body) -> set[int]:
    return {host["hostId"] for host in result["accepted"]}


def rejected(result: Body) -> dict[int, str]:
    return {host["hostId"]: host["message"] for host in result["rejected"]}


@pytest.fixture
async def tasks(client: httpx.AsyncClient, resources: Resources) -> dict[int, int]:
    """One request of three hosts: 1 has failed, 2 has succeeded, 3 waits for a worker. Their ids by host."""
    found = {task["hostId"]: task["id"] for task in await take_over(client, 1, 2, 3)}
    roles = resources.workflows[TAKEOVER].roles
    await advance(resources, found[1], roles[:3], roles[3], "nc is missing.")
    await advance(resources, found[2], roles)
    return found


async def test_retry_takes_the_failed_hosts_alone(client: httpx.AsyncClient, tasks: dict[int, int]) -> None:
    result = await operate(client, "retry")

    assert result["accepted"] == [{"hostId": 1, "hostName": "odp-1", "taskId": tasks[1]}]
    assert rejected(result) == {
        2: f"Task instance {tasks[2]} is SUCCESSFUL; RETRY needs it to be FAILED.",
        3: f"Task instance {tasks[3]} is QUEUED; RETRY needs it to be FAILED.",
    }
    assert {host["code"] for host in result["rejected"]} == {4007}
    assert await states(client) == {1: "QUEUED", 2: "SUCCESSFUL", 3: "QUEUED"}
    assert accepted(await operate(client, "retry")) == set(), "a repetition does nothing"


async def test_rollback_takes_the_failed_hosts_alone(client: httpx.AsyncClient, tasks: dict[int, int]) -> None:
    result = await operate(client, "rollback")

    assert (accepted(result), set(rejected(result))) == ({1}, {2, 3})
    document = (await client.get(f"{TASKS}/{tasks[1]}")).json()["data"]
    assert (document["status"], document["operation"]) == ("RUNNING", "ROLLBACK")


async def test_a_superseded_host_is_rejected_and_names_its_successor(
    client: httpx.AsyncClient, resources: Resources, tasks: dict[int, int]
) -> None:
    (newer,) = await take_over(client, 1)

    result = await operate(client, "retry")

    assert accepted(result) == set()
    assert f"use task instance {newer['id']}" in rejected(result)[1]
    assert (await states(client))[1] == "SUPERSEDED"


async def test_cancel_ends_the_hosts_that_wait_for_a_worker(
    client: httpx.AsyncClient, resources: Resources, tasks: dict[int, int]
) -> None:
    result = await operate(client, "cancel")

    assert (accepted(result), set(rejected(result))) == ({3}, {1, 2})
    assert await states(client) == {1: "FAILED", 2: "SUCCESSFUL", 3: "FAILED"}
    document = (await client.get(f"{TASKS}/{tasks[3]}")).json()["data"]
    first = document["subtasks"][0]
    assert (document["status"], document["operations"]) == ("FAILED", ["RETRY", "ROLLBACK"])
    assert (first["status"], first["operation"], "startTime" in first) == ("FAILED", "CANCEL", False)
    log = (await client.get(f"{TASKS}/{tasks[3]}/subtasks/{first['id']}/log")).json()["data"]["log"]
    assert log.startswith(f"CANCELED: {CANCELED_MESSAGE}\n")
    async with resources.database.autocommit() as connection:
        cursor = await connection.execute("SELECT args FROM procrastinate_jobs WHERE status = 'todo'")
        assert [row["args"]["task_instance_id"] for row in await cursor.fetchall()] == [tasks[1], tasks[2]], (
            "jobs of ended task instances end by themselves"
        )


async def test_a_canceled_host_can_be_retried(
    client: httpx.AsyncClient, resources: Resources, tasks: dict[int, int]
) -> None:
    await operate(client, "cancel")

    assert accepted(await operate(client, "retry")) == {1, 3}
    await advance(resources, tasks[3], resources.workflows[TAKEOVER].roles)
    assert (await states(client))[3] == "SUCCESSFUL"


async def test_cancel_reaches_a_running_subtask(
    client: httpx.AsyncClient, resources: Resources, tasks: dict[int, int]
) -> None:
    for task_id in (tasks[1], tasks[2], tasks[3]):
        assert (await claimed(resources)).task_kwargs == {"task_instance_id": task_id}
    await advance(resources, tasks[3], [], running=resources.workflows[TAKEOVER].roles[0])

    result = await operate(client, "cancel")

    assert accepted(result) == {3}
    document = (await client.get(f"{TASKS}/{tasks[3]}")).json()["data"]
    assert document["subtasks"][0]["status"] == "CANCELING"
    assert accepted(await operate(client, "cancel")) == {3}, "a repetition changes nothing"


async def test_a_host_whose_run_has_no_running_subtask_is_named(
    client: httpx.AsyncClient, resources: Resources, tasks: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.tasks.request_operations.START_TIMEOUT", 0.2)
    for _ in tasks:
        await claimed(resources)

    result = await operate(client, "cancel")

    assert accepted(result) == set()
    assert "is READY; CANCEL needs it to be RUNNING or CANCELING." in rejected(result)[3]


async def test_a_host_is_canceled_when_its_worker_postpones_the_job(
    client: httpx.AsyncClient, tasks: dict[int, int], resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, fetched = [await claimed(resources) for _ in tasks]
    cancel_task = operations.cancel_task

    async def postpone(resources: Resources, task_id: int) -> None:
        await resources.queue.app.job_manager.retry_job(fetched)
        await cancel_task(resources, task_id)

    monkeypatch.setattr(operations, "cancel_task", postpone)
    assert accepted(await operate(client, "cancel")) == {3}
    assert (await states(client))[3] == "FAILED"


async def test_a_rollback_that_waits_for_a_worker_can_be_canceled_and_resumed(
    client: httpx.AsyncClient, resources: Resources, tasks: dict[int, int]
) -> None:
    await operations.rollback_task(resources, tasks[1])
    assert accepted(await operate(client, "cancel")) == {1, 3}
    document = (await client.get(f"{TASKS}/{tasks[1]}")).json()["data"]
    assert (document["status"], document["operation"]) == ("FAILED", "ROLLBACK")

    await operate(client, "retry")
    roles = resources.workflows[TAKEOVER].roles
    await advance(resources, tasks[1], roles[3::-1])

    assert (await states(client))[1] == "ROLLED_BACK"


async def test_a_canceled_job_starts_no_run(
    client: httpx.AsyncClient, resources: Resources, tasks: dict[int, int]
) -> None:
    """A worker that has fetched the job before the cancel finds a task instance that has ended."""
    fetched = [await claimed(resources) for _ in tasks]
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE procrastinate_jobs SET status = 'todo' WHERE id = %s", (fetched[2].id,))
    await operate(client, "cancel")

    await job.perform(resources, tasks[3], job=fetched[2], leases=Leases(resources.database))

    async with resources.database.autocommit() as connection:
        rows = await (await connection.execute("SELECT count(*) AS n FROM run")).fetchall()
    assert rows[0]["n"] == 0


async def test_messages_are_in_the_language_of_the_caller(client: httpx.AsyncClient, tasks: dict[int, int]) -> None:
    answer = await client.post(f"{REQUEST}/retry", headers={"Accept-Language": "zh"})

    assert all("任务" in host["message"] for host in answer.json()["data"]["rejected"])


@pytest.mark.parametrize("verb", ["retry", "rollback", "cancel"])
async def test_an_unknown_request(client: httpx.AsyncClient, verb: str) -> None:
    answer = await client.post(f"/api/v2/obproxy/requests/4711/{verb}")

    assert (answer.status_code, assert_failure(answer).error.message) == (404, "Request 4711 does not exist.")


async def test_canceling_an_ended_host_leaves_its_job(tasks: dict[int, int], resources: Resources) -> None:
    """A worker that stops requeues the job of a run that has just ended."""
    query = b"SELECT count(*) FROM procrastinate_jobs WHERE (args ->> 'task_instance_id')::bigint = %s"
    async with resources.database.autocommit() as connection:
        before = await (await connection.execute(query, (tasks[1],))).fetchone()
        errors = await request_operations.cancel_tasks(resources, [tasks[1]])
        after = await (await connection.execute(query, (tasks[1],))).fetchone()

    assert isinstance(errors[tasks[1]], OperationNotAllowed)
    assert before == after == {"count": 1}
