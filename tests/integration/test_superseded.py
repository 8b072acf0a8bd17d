"""Only the newest task instance of an OBProxy server accepts operations: in SQL, documents, pages and counters."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import psycopg
import pytest

from service.model.tasks import TaskStatus
from service.model.workflow import TAKEOVER
from service.tasks import instances, operations
from service.tasks.errors import HostBusy, Superseded
from service.tasks.instances import OpenCounts
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.external_run_reports import run_report
from tests.integration.sample_tasks import advance
from tests.integration.users import ADMIN

TASKS = "/api/v2/tasks/instances"
ROUNDS = 40  # races of a submit with an operation


async def submit(resources: Resources, sql_port: int = 2883) -> int:
    wanted = [HostRequest(host_id=1, sql_port=sql_port)]
    return (await take_over(resources, 1, wanted, creator=ADMIN, trace_id="t"))[0][0].id


async def fail(resources: Resources, task_id: int) -> None:
    await advance(resources, task_id, [], resources.workflows[TAKEOVER].roles[0], "broken")


async def succeed(resources: Resources, task_id: int) -> None:
    await advance(resources, task_id, resources.workflows[TAKEOVER].roles)


async def roll_back(resources: Resources, task_id: int) -> None:
    await operations.rollback_task(resources, task_id)
    await advance(resources, task_id, [resources.workflows[TAKEOVER].roles[0]])


async def submit_failed(resources: Resources) -> int:
    task_id = await submit(resources)
    await fail(resources, task_id)
    return task_id


async def assert_superseded(resources: Resources, older: int, newer: int) -> None:
    """Every operation on `older` is rejected with the id of `newer`, and changes nothing."""
    before = await instances.get(resources.database, older)
    subtask = before[1][0].id
    for attempt in (
        operations.retry_task(resources, older),
        operations.rollback_task(resources, older),
        operations.retry_subtask(resources, older, subtask),
        operations.skip_subtask(resources, older, subtask),
        operations.cancel_subtask(resources, older, subtask),
    ):
        with pytest.raises(Superseded, match=f"Task instance {older} is superseded: use task instance {newer} "):
            await attempt
    assert await instances.get(resources.database, older) == before


@pytest.mark.parametrize("end", [succeed, fail], ids=["succeeded", "failed"])
async def test_an_older_task_instance_takes_no_operation(
    resources: Resources, end: Callable[[Resources, int], Awaitable[None]]
) -> None:
    older = await submit_failed(resources)
    newer = await submit(resources)
    await assert_superseded(resources, older, newer)

    await end(resources, newer)

    await assert_superseded(resources, older, newer)


async def test_a_rollback_of_the_newer_one_frees_no_older_one(resources: Resources) -> None:
    older = await submit_failed(resources)
    newer = await submit_failed(resources)
    await roll_back(resources, newer)
    await assert_superseded(resources, older, newer)

    await submit_failed(resources)  # another row of the same OBProxy server

    await assert_superseded(resources, older, newer)


async def test_the_newest_one_may_go_on(resources: Resources) -> None:
    await submit_failed(resources)
    newest = await submit_failed(resources)

    await operations.retry_task(resources, newest)

    assert (await instances.get(resources.database, newest))[0].status is TaskStatus.RUNNING


async def test_another_port_of_the_host_is_another_obproxy_server(resources: Resources) -> None:
    one = await submit_failed(resources)
    await fail(resources, await submit(resources, 3306))

    await operations.retry_task(resources, one)


async def test_a_whole_run_by_hand_supersedes_and_some_roles_do_not(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    older = await submit_failed(resources)
    roles = resources.workflows[TAKEOVER].roles
    assert (await client.post("/api/v2/obproxy/externalRuns", json=run_report(roles[:2]))).status_code == 200
    assert (await instances.get(resources.database, older))[0].superseded_by is None

    answer = await client.post("/api/v2/obproxy/externalRuns", json=run_report(failing=roles[3]))

    await assert_superseded(resources, older, answer.json()["data"]["id"])


async def test_the_database_rejects_it_too(resources: Resources) -> None:
    older = await submit_failed(resources)
    await succeed(resources, await submit(resources))

    with pytest.raises(psycopg.errors.CheckViolation, match="task_instance_superseded_ended"):
        async with resources.database.transaction() as connection:
            await connection.execute(
                "UPDATE task_instance SET status = 'RUNNING', finish_time = NULL WHERE id = %s", (older,)
            )


@pytest.mark.parametrize("operation", [operations.retry_task, operations.rollback_task])
async def test_of_a_newer_takeover_and_an_operation_racing_one_wins(
    resources: Resources, operation: Callable[[Resources, int], Awaitable[None]]
) -> None:
    for _ in range(ROUNDS):
        older = await submit_failed(resources)
        results = await asyncio.gather(
            submit(resources), operation(resources, older), submit(resources), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(error, (HostBusy, Superseded)) for error in refused), refused
        assert len(refused) == 2
        async with resources.database.autocommit() as connection:
            rows = await connection.execute("SELECT id, superseded_by FROM task_instance WHERE status = 'RUNNING'")
            (running,) = await rows.fetchall()
        assert running["superseded_by"] is None
        await fail(resources, running["id"])


async def test_documents_and_counters_show_it(client: httpx.AsyncClient, resources: Resources) -> None:
    older = await submit_failed(resources)
    newer = await submit(resources)
    await succeed(resources, newer)

    detail = (await client.get(f"{TASKS}/{older}")).json()["data"]
    listed = (await client.get(TASKS)).json()["data"]["contents"]
    answer = await client.post(f"{TASKS}/{older}/rollback")
    metrics = (await client.get("/metrics")).text

    assert (detail["status"], detail["supersededBy"], detail["operations"]) == ("FAILED", newer, [])
    assert not any(subtask["operations"] for subtask in detail["subtasks"])
    assert [task.get("supersededBy") for task in listed] == [None, newer]
    assert "supersededBy" not in (await client.get(f"{TASKS}/{newer}")).json()["data"]
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 4007)
    assert f"superseded: use task instance {newer}" in answer.json()["error"]["message"]
    assert await instances.count_open(resources.database) == OpenCounts(running=0, waiting=0, failed=0)
    assert 'takeover_task_instances{status="FAILED"} 0.0' in metrics


async def test_pages_show_it(client: httpx.AsyncClient, resources: Resources) -> None:
    older = await submit_failed(resources)
    newer = await submit_failed(resources)

    page = (await client.get(f"/tasks/{older}", headers={"Accept": "text/html"})).text
    listed = (await client.get("/tasks", headers={"Accept": "text/html"})).text
    open_tasks = (await client.get("/tasks/open", headers={"Accept": "text/html"})).text

    assert f'<a id="newer-task" href="/tasks/{newer}">' in page
    assert 'class="badge status-SUPERSEDED"' in page and "Superseded" in page
    assert "/retry" not in page and "/rollback" not in page and "/skip" not in page
    assert listed.count('class="badge status-SUPERSEDED"') == 1
    assert f'id="open-task-{newer}"' in open_tasks and f'id="open-task-{older}"' not in open_tasks


async def test_readers_of_the_older_one_are_notified(resources: Resources) -> None:
    older = await submit_failed(resources)
    before = await change_number(resources, older)

    await submit(resources)

    assert await change_number(resources, older) > before


async def change_number(resources: Resources, task_id: int) -> int:
    async with resources.database.autocommit() as connection:
        rows = await connection.execute("SELECT number FROM task_change WHERE task_instance_id = %s", (task_id,))
        return int((await rows.fetchall())[0]["number"])
