"""Test the release of OBProxy servers: valid and invalid requests, and the servers afterwards."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.model.workflow import RELEASE, TAKEOVER
from service.store.database import fetch
from service.tasks.resources import Resources
from service.worker import job
from service.worker.leases import Leases
from tests.integration.fetched_jobs import claimed, start_run
from tests.integration.http_helpers import assert_failure, count_rows, take_over, take_over_body
from tests.integration.sample_tasks import advance

PATH = "/api/v2/obproxy/clusters/{}/servers/release"
TASKS = "/api/v2/tasks/instances"
Body = dict[str, Any]


async def managed(client: httpx.AsyncClient, resources: Resources, *host_ids: int) -> list[int]:
    """Take hosts over and return the ids of their OBProxy servers."""
    ids = []
    for document in await take_over(client, *host_ids):
        await advance(resources, document["id"], resources.workflows[TAKEOVER].roles)
        ids.append(int(document["context"]["stringMap"]["obproxy_server_id"]))
    return ids


async def release(
    client: httpx.AsyncClient, *server_ids: int, skipped: tuple[int, ...] = (), key: str = ""
) -> list[Body]:
    body = {"obproxyServerIds": list(server_ids), "skipHostOperationServerIds": list(skipped)}
    answer = await client.post(PATH.format(1), json=body, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"]["contents"])


async def statuses(resources: Resources) -> dict[int, str]:
    async with resources.database.transaction() as connection:
        rows = await fetch(connection, "servers_of_clusters", cluster_ids=[1])
    return {row["id"]: row["status"] for row in rows}


async def test_a_release_is_a_task_instance_a_server(client: httpx.AsyncClient, resources: Resources) -> None:
    first, second = await managed(client, resources, 1, 2)

    documents = await release(client, second, first)

    assert [document["hostId"] for document in documents] == [2, 1]
    assert {(document["name"], document["status"]) for document in documents} == {("Release obproxy", "RUNNING")}
    assert documents[0]["subtasks"][0]["name"] == "Prepare release obproxy"
    assert documents[0]["context"]["stringMap"]["prohibit_rollback"] == "true"
    assert await statuses(resources) == {first: "RUNNING", second: "RUNNING"}


async def test_the_server_is_deleted_only_at_the_end(client: httpx.AsyncClient, resources: Resources) -> None:
    (server,) = await managed(client, resources, 1)
    (document,) = await release(client, server)
    roles = resources.workflows[RELEASE].roles

    await start_run(resources, document["id"])
    await advance(resources, document["id"], roles[:2], roles[2], "The agent refuses it.")
    detail = (await client.get(f"{TASKS}/{document['id']}")).json()["data"]
    assert (detail["status"], detail["operations"], detail["prohibitRollback"]) == ("FAILED", ["RETRY"], True)
    assert await statuses(resources) == {server: "DELETING"}
    answer = await client.post(f"{TASKS}/{document['id']}/rollback")
    assert (answer.status_code, assert_failure(answer).error.code) == (400, 4009)
    answer = await client.post("/api/v2/obproxy/clusters/1/takeOver", json=take_over_body(1))
    assert answer.status_code == 409, "a takeover would meet a host that is half released"

    assert (await client.post(f"{TASKS}/{document['id']}/retry")).status_code == 200
    await advance(resources, document["id"], roles[2:])
    assert (await client.get(f"{TASKS}/{document['id']}")).json()["data"]["status"] == "SUCCESSFUL"
    assert await statuses(resources) == {}
    assert len(await take_over(client, 1, cluster_id=7)) == 1


async def test_a_host_that_is_gone_is_not_needed(
    client: httpx.AsyncClient, resources: Resources, inventory_file: Any
) -> None:
    gone, kept = await managed(client, resources, 1, 2)
    inventory_file.write_text("all: {hosts: {}}")

    (document,) = await release(client, gone, skipped=(gone,))
    assert {subtask["operation"] for subtask in document["subtasks"]} == {"SKIP"}
    await job.perform(resources, document["id"], job=await claimed(resources), leases=Leases(resources.database))

    detail = (await client.get(f"{TASKS}/{document['id']}")).json()["data"]
    assert detail["status"] == "SUCCESSFUL"
    assert await statuses(resources) == {kept: "RUNNING"}
    refused = await client.post(PATH.format(1), json={"obproxyServerIds": [kept]})
    assert (refused.status_code, assert_failure(refused).error.message) == (
        400,
        f"Host 2 of OBProxy server {kept} does not exist in the inventory.",
    )


async def test_a_failed_takeover_of_a_removed_host_is_deleted(client: httpx.AsyncClient, resources: Resources) -> None:
    (task,) = await take_over(client, 1)
    await advance(resources, task["id"], [], resources.workflows[TAKEOVER].roles[0], "It does not answer.")
    server = int(task["context"]["stringMap"]["obproxy_server_id"])

    (document,) = await release(client, server, skipped=(server,))
    await job.perform(resources, document["id"], job=await claimed(resources), leases=Leases(resources.database))

    assert await statuses(resources) == {}


async def test_every_bad_id_is_named_and_nothing_is_written(client: httpx.AsyncClient, resources: Resources) -> None:
    (server,) = await managed(client, resources, 1)
    (unmanaged,) = await take_over(client, 2)
    await advance(resources, unmanaged["id"], [], resources.workflows[TAKEOVER].roles[0], "It does not answer.")
    other = int(unmanaged["context"]["stringMap"]["obproxy_server_id"])
    before = await count_rows(resources)

    body = {"obproxyServerIds": [server, 98, other, 99], "skipHostOperationServerIds": [97]}
    answer = await client.post(PATH.format(1), json=body)

    assert answer.status_code == 400
    found = {(error["field"], error["rejectedValue"]) for error in answer.json()["error"]["subErrors"]}
    assert found == {
        ("obproxyServerIds[1]", 98),
        ("obproxyServerIds[2]", other),
        ("obproxyServerIds[3]", 99),
        ("skipHostOperationServerIds[0]", 97),
    }
    assert await count_rows(resources) == before
    assert (await statuses(resources))[server] == "RUNNING"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "obproxyServerIds is required."),
        ({"obproxyServerIds": []}, "obproxyServerIds must not be empty."),
        ({"obproxyServerIds": [1, 2, 1]}, "obproxyServerIds must not repeat 1."),
        ({"obproxyServerIds": ["x"]}, 'obproxyServerIds[0] must be an integer; it is "x".'),
    ],
)
async def test_an_invalid_body_is_rejected(client: httpx.AsyncClient, body: Body, message: str) -> None:
    answer = await client.post(PATH.format(1), json=body)

    assert (answer.status_code, assert_failure(answer).error.message) == (400, message)


async def test_a_server_of_another_cluster_and_an_unknown_cluster(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    (server,) = await managed(client, resources, 1)

    other = await client.post(PATH.format(7), json={"obproxyServerIds": [server]})
    unknown = await client.post(PATH.format(99), json={"obproxyServerIds": [server]})

    assert (other.status_code, unknown.status_code) == (400, 404)
    assert await statuses(resources) == {server: "RUNNING"}


async def test_a_busy_host_is_rejected(client: httpx.AsyncClient, resources: Resources) -> None:
    (server,) = await managed(client, resources, 1)
    (running,) = await release(client, server)

    answer = await client.post(PATH.format(1), json={"obproxyServerIds": [server]})

    assert answer.status_code == 409
    assert str(running["id"]) in assert_failure(answer).error.message


async def test_a_key_stands_for_one_release(client: httpx.AsyncClient, resources: Resources) -> None:
    first, second = await managed(client, resources, 1, 2)
    documents = await release(client, first, skipped=(first,), key="k")
    await job.perform(resources, documents[0]["id"], job=await claimed(resources), leases=Leases(resources.database))

    assert await release(client, first, skipped=(first,), key="k") == documents
    answer = await client.post(PATH.format(1), json={"obproxyServerIds": [second]}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 409
    assert await statuses(resources) == {second: "RUNNING"}


async def test_a_rollout_releases_the_servers_in_batches(client: httpx.AsyncClient, resources: Resources) -> None:
    servers = await managed(client, resources, 1, 2)

    body = {"obproxyServerIds": servers, "rollout": {"canary": 1}}
    answer = await client.post(PATH.format(1), json=body)

    async def states() -> list[str]:
        request = (await client.get(answer.headers["Location"])).json()["data"]
        return [host["state"] for host in request["hosts"]]

    assert await states() == ["QUEUED", "WAITING"]
    task_id = answer.json()["data"]["contents"][0]["id"]
    await start_run(resources, task_id)
    assert await statuses(resources) == {servers[0]: "DELETING", servers[1]: "RUNNING"}
    await advance(resources, task_id, resources.workflows[RELEASE].roles)
    assert await states() == ["SUCCESSFUL", "QUEUED"]
    assert await statuses(resources) == {servers[1]: "RUNNING"}
    invalid = await client.post(PATH.format(1), json=body | {"rollout": {}})
    assert "rollout must have canary or batchSize" in assert_failure(invalid).error.message


async def test_a_server_whose_release_was_canceled_before_its_start_stays_managed(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    first, second = await managed(client, resources, 1, 2)
    roles = resources.workflows[RELEASE].roles

    async def submit(*server_ids: int) -> httpx.Response:
        async with resources.database.transaction() as connection:  # the jobs of what has ended
            await connection.execute("DELETE FROM procrastinate_jobs")
        answer = await client.post(
            PATH.format(1), json={"obproxyServerIds": list(server_ids), "rollout": {"canary": 1}}
        )
        assert answer.status_code == 200, answer.text
        return answer

    async def start_and_fail(task_id: int) -> None:
        await start_run(resources, task_id)
        await advance(resources, task_id, [], roles[0], "It does not answer.")
        async with resources.database.transaction() as connection:
            await connection.execute("UPDATE run SET finish_time = now()")

    async def cancel(request: str) -> None:
        assert len((await client.post(f"{request}/cancel")).json()["data"]["accepted"]) == 1

    answer = await submit(first, second)
    started, held = (document["id"] for document in answer.json()["data"]["contents"])
    await start_and_fail(started)
    await cancel(answer.headers["Location"])
    assert await statuses(resources) == {first: "DELETING", second: "RUNNING"}

    assert (await client.post(f"{TASKS}/{held}/retry")).status_code == 200
    await start_and_fail(held)
    assert await statuses(resources) == {first: "DELETING", second: "DELETING"}
    await cancel((await submit(second)).headers["Location"])
    assert await statuses(resources) == {first: "DELETING", second: "DELETING"}, "it may be half released"


async def test_a_canceled_release_of_a_host_that_is_gone_is_retried_without_the_host(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    (task,) = await take_over(client, 1)
    await advance(resources, task["id"], [], resources.workflows[TAKEOVER].roles[0], "It does not answer.")
    server = int(task["context"]["stringMap"]["obproxy_server_id"])
    body = {"obproxyServerIds": [server], "skipHostOperationServerIds": [server]}
    answer = await client.post(PATH.format(1), json=body)
    (document,) = answer.json()["data"]["contents"]

    assert (await client.post(answer.headers["Location"] + "/cancel")).json()["data"]["accepted"]
    assert await statuses(resources) == {server: "TAKINGOVER"}

    retried = (await client.post(f"{TASKS}/{document['id']}/retry")).json()["data"]
    assert {subtask["operation"] for subtask in retried["subtasks"]} == {"SKIP"}
    await job.perform(resources, document["id"], job=await claimed(resources), leases=Leases(resources.database))
    assert await statuses(resources) == {}


async def test_a_release_whose_subtasks_are_skipped_one_by_one_deletes_the_server(
    client: httpx.AsyncClient, resources: Resources, inventory_file: Path
) -> None:
    (server,) = await managed(client, resources, 1)
    (document,) = await release(client, server)
    inventory_file.write_text("all: {hosts: {}}")
    claim, leases = await claimed(resources), Leases(resources.database)

    await job.perform(resources, document["id"], job=claim, leases=leases)
    assert await statuses(resources) == {server: "RUNNING"}, "nothing has run on its host"
    for subtask in document["subtasks"]:
        skipped = await client.post(f"{TASKS}/{document['id']}/subtasks/{subtask['id']}/skip")
        assert skipped.status_code == 200, skipped.text
        await job.perform(resources, document["id"], job=claim, leases=leases)

    assert (await client.get(f"{TASKS}/{document['id']}")).json()["data"]["status"] == "SUCCESSFUL"
    assert await statuses(resources) == {}
