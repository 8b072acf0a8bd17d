"""Test the refresh of OBProxy servers: valid and invalid requests, and the servers meanwhile and afterwards."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from service.inventory.reader import Inventory
from service.inventory.records import Cluster, Host
from service.model.workflow import REFRESH, TAKEOVER
from service.store.database import fetch
from service.tasks.resources import Resources
from service.worker import discovery
from tests.integration.fetched_jobs import start_run
from tests.integration.http_helpers import assert_failure, count_rows, take_over
from tests.integration.sample_tasks import advance
from tests.integration.test_release import PATH as RELEASE_PATH
from tests.integration.test_release import managed, statuses

PATH = "/api/v2/obproxy/clusters/{}/obproxies/{}/refresh"
TASKS = "/api/v2/tasks/instances"
DEADLINE = 60.0  # seconds
Body = dict[str, Any]


async def refresh(client: httpx.AsyncClient, *server_ids: int, **options: Any) -> list[Body]:
    answer = await client.post(PATH.format(1, ",".join(map(str, server_ids))), **options)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"]["contents"])


async def test_a_refresh_is_a_task_instance_per_server(client: httpx.AsyncClient, resources: Resources) -> None:
    first, second = await managed(client, resources, 1, 2)

    documents = await refresh(client, second, first)

    assert [document["hostId"] for document in documents] == [2, 1]
    assert {(document["name"], document["status"]) for document in documents} == {("Refresh obproxy", "RUNNING")}
    assert await statuses(resources) == {first: "RUNNING", second: "RUNNING"}, "no run has started"
    async with resources.database.transaction() as connection:
        checked = await fetch(connection, "servers_to_health_check")
    assert [server["id"] for server in checked] == [first, second]
    for document in documents:
        await advance(resources, document["id"], resources.workflows[REFRESH].roles)
    assert await statuses(resources) == {first: "RUNNING", second: "RUNNING"}


async def test_a_failed_refresh_leaves_the_server_managed(client: httpx.AsyncClient, resources: Resources) -> None:
    (server,) = await managed(client, resources, 1)
    (document,) = await refresh(client, server)
    roles = resources.workflows[REFRESH].roles

    await advance(resources, document["id"], roles[:1], roles[1], "It rejects a value.")

    assert await statuses(resources) == {server: "RUNNING"}
    assert (await client.post(f"{TASKS}/{document['id']}/retry")).status_code == 200
    await start_run(resources, document["id"])
    assert await statuses(resources) == {server: "REFRESHING"}
    await advance(resources, document["id"], roles[1:])
    assert (await client.get(f"{TASKS}/{document['id']}")).json()["data"]["status"] == "SUCCESSFUL"
    assert await statuses(resources) == {server: "RUNNING"}


async def test_a_discovery_that_a_run_has_overtaken_is_dropped(client: httpx.AsyncClient, resources: Resources) -> None:
    (server,) = await managed(client, resources, 1)
    read: Body = {"parameters": {"a": "1"}, "parameter_definitions": {"a": ["", False, "", False]}}
    async with resources.database.transaction() as connection:
        (before,) = await fetch(connection, "time_now")
    (document,) = await refresh(client, server)
    assert not await discovery._record(resources, server, before["moment"], read | {"pid": 1}, "")
    assert (await learned(resources, server))["pid"] == 1, "the run has not begun"

    await start_run(resources, document["id"])
    await discovery._record(resources, server, before["moment"], read | {"pid": 2}, "")
    await advance(resources, document["id"], resources.workflows[REFRESH].roles)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE run SET finish_time = now()")
    await discovery._record(resources, server, before["moment"], read | {"pid": 3}, "")
    assert (await learned(resources, server))["pid"] == 1

    async with resources.database.transaction() as connection:
        (after,) = await fetch(connection, "time_now")
    await discovery._record(resources, server, after["moment"], read | {"pid": 4}, "")
    assert (await learned(resources, server))["pid"] == 4


async def learned(resources: Resources, server_id: int) -> Body:
    async with resources.database.transaction() as connection:
        (row,) = await fetch(connection, "server_by_id", server_id=server_id)
    return dict(row["learned"])


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"rollout": {"batchSize": 1}}'], ids=str)
async def test_the_body_is_optional(client: httpx.AsyncClient, resources: Resources, content: bytes | None) -> None:
    (server,) = await managed(client, resources, 1)

    headers = {} if content is None else {"Content-Type": "application/json"}

    assert len(await refresh(client, server, content=content, headers=headers)) == 1


async def test_a_rollout_starts_the_servers_in_batches(client: httpx.AsyncClient, resources: Resources) -> None:
    servers = await managed(client, resources, 1, 2)

    answer = await client.post(PATH.format(1, ",".join(map(str, servers))), json={"rollout": {"batchSize": 1}})

    request = (await client.get(answer.headers["Location"])).json()["data"]
    assert (request["rollout"]["batchSize"], len(request["hosts"])) == (1, 2)
    assert set((await statuses(resources)).values()) == {"RUNNING"}, "no run has started"

    await start_run(resources, request["hosts"][0]["taskId"])

    assert await statuses(resources) == {servers[0]: "REFRESHING", servers[1]: "RUNNING"}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("1,x", 'obproxyIds[1] must be an integer; it is "x".'),
        ("1,1", "obproxyIds must not repeat 1."),
        ("98", "OBProxy server 98 does not exist in OBProxy cluster 1."),
    ],
)
async def test_bad_ids_are_named(client: httpx.AsyncClient, resources: Resources, ids: str, message: str) -> None:
    before = await count_rows(resources)

    answer = await client.post(PATH.format(1, ids))

    assert (answer.status_code, assert_failure(answer).error.message) == (400, message)
    assert await count_rows(resources) == before


async def test_no_server_is_locked_while_the_inventory_resolves_variables(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = await managed(client, resources, 1, 2)
    asked: list[list[int]] = []
    reached, resolved = asyncio.Event(), asyncio.Event()

    async def resolve(_inventory: Inventory, _cluster: Cluster, hosts: Sequence[Host]) -> list[Host]:
        asked.append(sorted(host.id for host in hosts))
        reached.set()
        await resolved.wait()
        return list(hosts)

    monkeypatch.setattr(Inventory, "in_cluster", resolve)
    answer = asyncio.create_task(client.post(PATH.format(1, ",".join(map(str, servers)))))
    async with asyncio.timeout(DEADLINE):
        await reached.wait()
        async with resources.database.transaction() as connection:
            await connection.execute("SELECT FROM obproxy_server FOR UPDATE NOWAIT")
        resolved.set()

        assert (await answer).status_code == 200
    assert asked == [[1, 2]], "all hosts at once"


async def test_a_server_that_is_not_managed_is_rejected(client: httpx.AsyncClient, resources: Resources) -> None:
    released, unmanaged = await managed(client, resources, 1), await take_over(client, 2)
    await advance(resources, unmanaged[0]["id"], [], resources.workflows[TAKEOVER].roles[0], "It does not answer.")
    other = int(unmanaged[0]["context"]["stringMap"]["obproxy_server_id"])
    (document,) = (await client.post(RELEASE_PATH.format(1), json={"obproxyServerIds": released})).json()["data"][
        "contents"
    ]
    await start_run(resources, document["id"])
    await advance(resources, document["id"], [], "prepare_release", "Another manager has it.")

    answer = await client.post(PATH.format(1, f"{released[0]},{other}"))

    found = {(error["field"], error["rejectedValue"]) for error in answer.json()["error"]["subErrors"]}
    assert answer.status_code == 400
    assert found == {("obproxyIds[0]", released[0]), ("obproxyIds[1]", other)}


async def test_a_key_stands_for_one_refresh(client: httpx.AsyncClient, resources: Resources) -> None:
    first, second = await managed(client, resources, 1, 2)
    headers = {"Idempotency-Key": "k"}
    documents = await refresh(client, first, headers=headers)

    assert await refresh(client, first, headers=headers) == documents
    answer = await client.post(PATH.format(1, second), headers=headers)
    assert answer.status_code == 409
