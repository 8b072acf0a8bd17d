"""Requests: the task instances of one call, their list, their document, and their removal."""

from dataclasses import replace
from typing import Any

import httpx

from service.api import requests as requests_api
from service.model.changes import HostChange
from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Changed, Started
from service.tasks import operations
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.worker import retention
from tests.integration.http_helpers import assert_envelope, assert_sorted, take_over, take_over_body
from tests.integration.sample_tasks import FAILED_RULES, advance

REQUESTS = "/api/v2/obproxy/requests"
TASKS = "/api/v2/tasks/instances"
TAKE_OVER = "/api/v2/obproxy/clusters/1/takeOver"
Body = dict[str, Any]


async def read(client: httpx.AsyncClient, path: str, **query: str | int) -> Body:
    data: Body = assert_envelope(await client.get(path, params=query))["data"]
    assert_sorted(data)
    return data


async def test_the_task_instances_of_one_call_share_a_request(client: httpx.AsyncClient) -> None:
    answer = await client.post(TAKE_OVER, json=take_over_body(2, 1))
    ids = [task["id"] for task in answer.json()["data"]["contents"]]
    (alone,) = await take_over(client, 3)

    found = [(await read(client, f"{TASKS}/{task_id}"))["requestId"] for task_id in (*ids, alone["id"])]
    listed = {task["id"]: task["requestId"] for task in (await read(client, TASKS))["contents"]}

    assert found[0] == found[1] != found[2]
    assert listed == dict(zip((*ids, alone["id"]), found, strict=True))
    assert answer.headers["location"] == f"{REQUESTS}/{found[0]}"
    assert "requestId" not in answer.json()["data"]["contents"][0], "OCP's response has no such property"


async def test_a_repeated_call_names_the_same_request(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "once"}
    first = await client.post(TAKE_OVER, json=take_over_body(1, 2), headers=key)
    again = await client.post(TAKE_OVER, json=take_over_body(1, 2), headers=key)

    assert first.headers["location"] == again.headers["location"]
    assert (await read(client, REQUESTS))["page"]["totalElements"] == 1


async def test_the_document_has_every_host_in_the_order_of_the_call(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    tasks = {task["hostId"]: task["id"] for task in await take_over(client, 3, 1, 2)}
    roles = resources.workflows[TAKEOVER].roles
    await advance(resources, tasks[3], roles)
    await advance(resources, tasks[1], roles[:6], roles[6], FAILED_RULES)

    (listed,) = (await read(client, REQUESTS))["contents"]
    request = await read(client, f"{REQUESTS}/{listed['id']}")
    hosts, changes = request.pop("hosts"), request.pop("changes")

    assert changes == [] and all(host["changes"] == host["findings"] == [] for host in hosts)
    assert {**request, "duration": 0} == {**listed, "duration": 0}
    assert request["duration"] >= 0 and "finishTime" not in request
    assert request["creator"] == {"id": 100, "name": "admin"}
    assert (request["status"], request["hostCount"], request["workflow"]) == ("RUNNING", 3, "takeover")
    assert (request["clusterId"], request["clusterName"]) == (1, "test")
    assert {state: n for state, n in request["counts"].items() if n} == {"FAILED": 1, "QUEUED": 1, "SUCCESSFUL": 1}
    assert [host["hostName"] for host in hosts] == ["odp-3", "odp-1", "odp-2"]
    assert [host["taskId"] for host in hosts] == [tasks[3], tasks[1], tasks[2]]
    assert [host["state"] for host in hosts] == ["SUCCESSFUL", "FAILED", "QUEUED"]
    assert [host["finishedSubtasks"] for host in hosts] == [12, 6, 0]
    assert hosts[1]["subtask"] == "Sync obproxy parameter" and FAILED_RULES in hosts[1]["reason"]
    assert "subtask" not in hosts[0] and "reason" not in hosts[0] and "startTime" not in hosts[2]


async def test_the_document_sums_up_the_changes_of_its_hosts(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = [task["id"] for task in await take_over(client, 1, 2, 3)]
    for task_id, names in zip(tasks, (["b", "a"], ["a"], []), strict=True):
        made = [HostChange(what="parameter", name=name, before="1", after="2") for name in names]
        made += [HostChange(what="file", name="/etc/a", before=None, after="text")] if len(made) == 2 else []
        role = resources.workflows[TAKEOVER].roles[0]
        await Recorder(resources, task_id).record(
            [Started(role=role), *([Changed(role=role, changes=made)] if made else [])]
        )

    (listed,) = (await read(client, REQUESTS))["contents"]
    request = await read(client, f"{REQUESTS}/{listed['id']}")

    assert request["changes"] == [
        {"hosts": 2, "names": 2, "what": "parameter"},
        {"hosts": 1, "names": 1, "what": "file"},
    ]
    assert [host["changes"] for host in request["hosts"]] == [
        [{"names": ["/etc/a"], "what": "file"}, {"names": ["a", "b"], "what": "parameter"}],
        [{"names": ["a"], "what": "parameter"}],
        [],
    ]
    part = await requests_api.detail(resources, listed["id"], [tasks[1]])
    assert "changes" not in part and [host["taskId"] for host in part["hosts"]] == [tasks[1]]
    assert part["hosts"][0] == request["hosts"][1]


async def test_a_request_ends_with_its_last_host(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = [task["id"] for task in await take_over(client, 1, 2)]
    roles = resources.workflows[TAKEOVER].roles
    statuses = []
    for task_id, failed in ((tasks[0], ""), (tasks[1], roles[0])):
        await advance(resources, task_id, [] if failed else roles, failed, "It does not answer.")
        (listed,) = (await read(client, REQUESTS))["contents"]
        statuses.append((listed["status"], "finishTime" in listed))
    await operations.rollback_task(resources, tasks[1])
    await advance(resources, tasks[1], [roles[0]])
    (listed,) = (await read(client, REQUESTS))["contents"]

    assert statuses == [("RUNNING", False), ("FAILED", True)]
    assert (listed["status"], listed["counts"]["ROLLED_BACK"]) == ("ROLLED_BACK", 1)


async def test_the_list_has_pages_and_an_order(client: httpx.AsyncClient) -> None:
    for host_id in (1, 2, 3):
        await take_over(client, host_id)
    newest = [request["id"] for request in (await read(client, REQUESTS))["contents"]]

    second = await read(client, REQUESTS, page=2, size=2, sort="id,asc")

    assert newest == sorted(newest, reverse=True) and len(newest) == 3
    assert [request["id"] for request in second["contents"]] == [newest[0]]
    assert second["page"] == {"number": 2, "size": 2, "totalElements": 3, "totalPages": 2}


async def test_a_request_is_removed_with_its_last_task_instance(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    roles = resources.workflows[TAKEOVER].roles
    for hosts in ((1, 2), (1,), (2,)):
        for task in await take_over(client, *hosts):
            await advance(resources, task["id"], [], roles[0], "It does not answer.")
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE task_instance SET finish_time = now() - interval '100 days'")
    retain = resources.settings.model_copy(update={"retention_days_tasks": 90})

    await retention.apply(replace(resources, settings=retain))

    kept = (await read(client, REQUESTS))["contents"]
    assert [(request["id"], request["hostCount"]) for request in kept] == [(3, 1), (2, 1)]


async def test_a_request_that_was_not_accepted_leaves_nothing(client: httpx.AsyncClient, resources: Resources) -> None:
    await take_over(client, 1)
    answer = await client.post(TAKE_OVER, json=take_over_body(2, 1))

    assert answer.status_code == 409
    async with resources.database.autocommit() as connection:
        assert await (await connection.execute("SELECT count(*) AS total FROM request")).fetchall() == [{"total": 1}]
