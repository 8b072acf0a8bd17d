"""The responses to correct requests."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from service import __version__
from service.api.bodies import DiscoverParam, ExternalRunParam, RefreshParam, ReleaseParam, RestartParam, TakeOverParam
from service.http.envelope import SERVER_ID
from service.http.openapi import EVENT_STREAM
from service.model.tasks import SubtaskStatus
from service.routes import OPERATIONS
from service.store.database import execute
from service.tasks.resources import Resources
from tests.integration.external_run_reports import run_report
from tests.integration.http_helpers import TIME, assert_envelope, assert_sorted, count_rows, take_over, take_over_body

TASKS = "/api/v2/tasks/instances"


@pytest.fixture
def resources(app: Starlette) -> Resources:
    """Return the resources of the application."""
    opened: Resources = app.state.resources
    return opened


async def listed(client: httpx.AsyncClient, query: str = "") -> tuple[list[int], dict[str, int]]:
    """Ids and page numbers of a list."""
    body = assert_envelope(await client.get(f"{TASKS}?{query}"))
    assert body["successful"], body
    return [task["id"] for task in body["data"]["contents"]], body["data"]["page"]


async def append_log(resources: Resources, subtask_id: int, *contents: str) -> None:
    """Rows of a subtask's log."""
    ids, runs = [subtask_id] * len(contents), [1] * len(contents)
    async with resources.database.transaction() as connection:
        await execute(connection, "insert_subtask_logs", subtask_ids=ids, run_times=runs, contents=list(contents))


async def test_take_over_answers_one_task_instance_a_host_in_order(client: httpx.AsyncClient) -> None:
    tasks = await take_over(client, 3, 1, 2)

    assert [task["hostId"] for task in tasks] == [3, 1, 2]
    assert len({subtask["id"] for task in tasks for subtask in task["subtasks"]}) == 3 * len(tasks[0]["subtasks"])


async def test_take_over_keeps_the_trace_id_and_never_shows_the_password(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    answer = await client.post(
        "/api/v2/obproxy/clusters/1/takeOver",
        json=take_over_body(1, password="S3cret#0"),
        headers={"x-trace-id": "c9c73aea31764206"},
    )

    assert "S3cret#0" not in answer.text
    assert answer.json()["traceId"] == "c9c73aea31764206"
    async with resources.database.transaction() as connection:
        row = await (await connection.execute("SELECT trace_id FROM task_instance")).fetchone()
    assert row == {"trace_id": "c9c73aea31764206"}
    assert (await count_rows(resources))["task_secret"] == 1


async def test_a_task_instance_in_detail(client: httpx.AsyncClient) -> None:
    (submitted,) = await take_over(client, 1)

    body = assert_envelope(await client.get(f"{TASKS}/{submitted['id']}"))

    task = body["data"]
    assert_sorted(body)
    assert list(task) == [
        *("createTime", "creator", "executor", "hostName", "id", "name", "obproxyServerId", "operation", "operations"),
        *("prohibitRollback", "requestId", "startTime", "state", "status", "subtasks", "taskDefinitionId", "type"),
    ]
    assert task["creator"] == {"id": 100, "name": "admin"}
    assert str(task["obproxyServerId"]) == submitted["context"]["stringMap"]["obproxy_server_id"]
    assert TIME.fullmatch(task["createTime"])
    for wanted, found in zip(submitted["subtasks"], task["subtasks"], strict=True):
        create_time = found.pop("createTime")
        assert re.fullmatch(r"[^.]*", create_time), "whole seconds"
        assert found.pop("changes") == []
        assert found.pop("state") == {"READY": "QUEUED"}.get(found["status"], found["status"])
        assert found.pop("operations") == []  # it is RUNNING: nothing may be asked of it yet
        assert found == {name: value for name, value in wanted.items() if name != "className"}


async def test_the_list_in_pages(client: httpx.AsyncClient) -> None:
    oldest, middle, newest = (task["id"] for task in await take_over(client, 1, 2, 3))

    assert await listed(client) == (
        [newest, middle, oldest],
        {"number": 1, "size": 10, "totalElements": 3, "totalPages": 1},
    )
    assert (await listed(client, "sort=id,asc"))[0] == [oldest, middle, newest]
    assert (await listed(client, "sort=id"))[0] == [oldest, middle, newest]
    assert (await listed(client, "sort=id,DESC"))[0] == [newest, middle, oldest]
    assert (await listed(client, "sort=name,asc"))[0] == [newest, middle, oldest]
    assert (await listed(client, "sort=name,desc"))[0] == [oldest, middle, newest]
    assert await listed(client, "size=2&page=2") == (
        [oldest],
        {"number": 2, "size": 2, "totalElements": 3, "totalPages": 2},
    )
    assert await listed(client, "size=2&page=3") == ([], {"number": 3, "size": 2, "totalElements": 3, "totalPages": 2})
    last = {"number": 2**31 - 1, "size": 2000, "totalElements": 3, "totalPages": 1}
    assert await listed(client, f"page={2**31 - 1}&size=2000") == ([], last)


async def test_the_list_narrowed(client: httpx.AsyncClient) -> None:
    ids = [task["id"] for task in await take_over(client, 1, 2, 3)]
    everything = sorted(ids, reverse=True)

    for query, found in {
        "hostId=2": [ids[1]],
        "hostId=-1": [],
        "name=INSTALL": everything,
        "name=stall%20ob": everything,
        "name=%25": [],
        "name=_": [],
        "name='": [],
        "type=MANUAL": everything,
        "type=SCHEDULED": [],
        "status=RUNNING": everything,
        "status=FAILED,SUCCESSFUL": [],
        "status=FAILED&status=RUNNING": everything,
        "status=RUNNING&hostId=3&type=MANUAL&name=obproxy": [ids[2]],
        "clusterId=1": [],
        "clusterName=test": [],
        "cluterName=test": [],
        "tenantId=1": [],
        "tenantName=sys": [],
        "name=": everything,
    }.items():
        listing, page = await listed(client, query)
        assert (listing, page["totalElements"]) == (found, len(found)), query


async def test_an_element_of_the_list(client: httpx.AsyncClient) -> None:
    (submitted,) = await take_over(client, 1)

    (element,) = (await client.get(TASKS)).json()["data"]["contents"]

    assert_sorted(element)
    assert list(element) == [
        *("creator", "hostName", "id", "name", "requestId", "startTime", "state", "status", "subtasks")
    ]
    assert [list(subtask) for subtask in element["subtasks"]] == [
        ["description", "id", "name", "operation", "status"]
    ] * len(submitted["subtasks"])
    assert [subtask["status"] for subtask in element["subtasks"]][:2] == [SubtaskStatus.READY, SubtaskStatus.PENDING]


async def test_a_log_whole_and_from_a_row_on(client: httpx.AsyncClient, resources: Resources) -> None:
    (task,) = await take_over(client, 1)
    subtask_id = task["subtasks"][0]["id"]
    path = f"{TASKS}/{task['id']}/subtasks/{subtask_id}/log"

    assert (await client.get(path)).json()["data"] == {"log": ""}
    assert (await client.get(path + "?after=0")).json()["data"] == {"log": "", "next": 0}

    await append_log(resources, subtask_id, "one\n", "zwei ünï\n")
    await append_log(resources, task["subtasks"][1]["id"], "another subtask's\n")

    assert (await client.get(path)).json()["data"] == {"log": "one\n\nzwei ünï\n"}
    first = (await client.get(path + "?after=0")).json()["data"]
    assert first["log"] == "one\n\nzwei ünï\n"
    assert (await client.get(f"{path}?after={first['next'] - 1}")).json()["data"] == {**first, "log": "zwei ünï\n"}
    assert (await client.get(f"{path}?after={first['next']}")).json()["data"] == {**first, "log": ""}

    await append_log(resources, subtask_id, "three\n")
    later = (await client.get(f"{path}?after={first['next']}")).json()["data"]
    assert later["log"] == "three\n"
    assert later["next"] > first["next"]


async def test_info_and_time(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v2/info")).json() == {
        "buildVersion": __version__,
        "name": "obproxy-takeover",
        "server": SERVER_ID,
    }
    time = await client.get("/api/v2/time")
    assert time.headers["content-type"].startswith("text/plain")
    assert TIME.fullmatch(time.text)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(time.text)) < timedelta(minutes=1)


@pytest.mark.parametrize("path", ["/api/v2/time", "/api/status", "/health/live", "/health/ready"])
async def test_time_and_status_need_no_authentication(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, auth=None)).status_code == 200


@pytest.mark.parametrize("path", ["/api/v2/info", "/openapi.json", TASKS, "/nowhere"])
async def test_other_routes_need_authentication(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, auth=None)).status_code == 401


async def test_the_status_depends_on_the_database(client: httpx.AsyncClient, resources: Resources) -> None:
    answer = await client.get("/api/status")
    assert (answer.status_code, answer.text) == (200, "okay")

    await resources.database.pool.close()

    answer = await client.get("/api/status")
    assert (answer.status_code, answer.text) == (503, "bad")


async def test_head_is_get_without_a_body(client: httpx.AsyncClient) -> None:
    for path in (TASKS, "/api/v2/info", "/api/status"):
        assert (await client.head(path)).status_code == 200


async def test_every_answer_is_as_described(client: httpx.AsyncClient, resources: Resources) -> None:
    (task,) = await take_over(client, 1)
    subtask_id = task["subtasks"][0]["id"]
    server_id = int(task["context"]["stringMap"]["obproxy_server_id"])
    bodies = {
        TakeOverParam: take_over_body(2),
        ExternalRunParam: run_report(hostId=3),
        ReleaseParam: {"obproxyServerIds": [server_id], "skipHostOperationServerIds": [server_id]},
        RefreshParam: {},
        RestartParam: {},
        DiscoverParam: {"hostIds": [1]},
    }
    filled = {"id": 1, "hostId": 1, "taskInstanceId": task["id"], "subtaskInstanceId": subtask_id}
    request_id = (await client.get(f"{TASKS}/{task['id']}")).json()["data"]["requestId"]
    filled |= {"requestId": request_id, "obproxyIds": server_id}
    superseding = (RefreshParam, RestartParam, ReleaseParam)  # their task instances supersede `task`

    for operation in sorted(OPERATIONS, key=lambda operation: operation.body in superseding):
        await _end_tasks(resources)
        canceled = operation.endpoint.__name__ == "cancel_subtask"
        await _put(resources, task["id"], subtask_id, "RUNNING" if canceled else "FAILED")
        if operation.body in superseding:
            await _manage_server(resources, server_id)
        body: dict[str, Any] = {"json": bodies[operation.body]} if operation.body else {}
        method = "HEAD" if operation.media_type == EVENT_STREAM else operation.method  # a stream has no end
        answer = await client.request(method, operation.path.format(**filled), **body)
        assert answer.status_code == 200, answer.text
        if operation.response:
            operation.response.model_validate_json(answer.content)
        else:
            assert answer.headers["content-type"].startswith(operation.media_type)


async def _end_tasks(resources: Resources) -> None:
    """Fail all running task instances, so that their hosts are free."""
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE task_instance SET status = 'FAILED', finish_time = now() WHERE status = 'RUNNING'"
        )


async def _manage_server(resources: Resources, server_id: int) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE obproxy_server SET status = 'RUNNING' WHERE id = %s", (server_id,))


async def _put(resources: Resources, task_id: int, subtask_id: int, status: str) -> None:
    """Make a task instance and its first subtask `status`, with everything that they may have."""
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE subtask_instance SET start_time = now(), finish_time = now(), executor = 'x',"
            " status = CASE WHEN id = %(subtask)s THEN %(status)s::subtask_status ELSE 'PENDING' END,"
            " operation = 'EXECUTE' WHERE task_instance_id = %(task)s",
            {"task": task_id, "subtask": subtask_id, "status": status},
        )
        await connection.execute(
            "UPDATE task_instance SET operation = 'EXECUTE', status = %(status)s::task_status,"
            " finish_time = CASE WHEN %(status)s::text = 'RUNNING' THEN NULL ELSE now() END WHERE id = %(task)s",
            {"task": task_id, "status": status},
        )


async def test_the_description_is_served(client: httpx.AsyncClient) -> None:
    description = (await client.get("/openapi.json")).json()

    assert description["openapi"].startswith("3.1")
    assert description["info"]["version"] == __version__
    assert set(description["paths"]) == {operation.path for operation in OPERATIONS}
