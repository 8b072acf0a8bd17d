"""`allowRestart` of a takeOver request: how it is stored, and that its absence leaves no trace."""

from typing import Any

import httpx
import pytest

from service.store.database import fetch
from service.tasks.resources import Resources
from tests.integration.http_helpers import assert_failure, count_rows, take_over_body

TAKE_OVER = "/api/v2/obproxy/clusters/1/takeOver"
TASKS = "/api/v2/tasks/instances"


async def submit(client: httpx.AsyncClient, *host_ids: int, key: str = "", **fields: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post(TAKE_OVER, json=take_over_body(*host_ids) | fields, headers=headers)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [({}, None), ({"allowRestart": None}, None), ({"allowRestart": True}, "true"), ({"allowRestart": False}, "false")],
)
async def test_the_permission_is_in_the_context_of_each_task_instance(
    client: httpx.AsyncClient, fields: dict[str, Any], kept: str | None
) -> None:
    for document in (await submit(client, 1, 2, **fields)).json()["data"]["contents"]:
        assert document["context"]["stringMap"].get("obproxy_allow_restart") == kept


async def test_a_bad_permission_is_rejected_with_all_other_errors(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    body = {"hosts": [{"hostId": 1}], "allowRestart": "yes"}
    answer = await client.post(TAKE_OVER, json=body, headers={"Accept-Language": "zh"})
    failure = assert_failure(answer)
    assert answer.status_code == 400
    assert [(error.field, error.rejectedValue) for error in failure.error.subErrors or ()] == [
        ("hosts[0].sqlPort", None),
        ("allowRestart", "yes"),
    ]
    assert "allowRestart 必须是 true 或 false" in answer.text
    assert set((await count_rows(resources)).values()) == {0}


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ({}, {"allowRestart": None}, 200),
        ({"allowRestart": True}, {"allowRestart": True}, 200),
        ({}, {"allowRestart": True}, 409),
        ({"allowRestart": False}, {}, 409),
        ({"allowRestart": True}, {"allowRestart": False}, 409),
    ],
)
async def test_the_permission_is_part_of_the_idempotent_request(
    client: httpx.AsyncClient, first: dict[str, Any], second: dict[str, Any], status: int
) -> None:
    asked = await submit(client, 1, key="k", **first)
    again = await submit(client, 1, key="k", **second)
    assert again.status_code == status
    assert status == 409 or again.json()["data"] == asked.json()["data"]


@pytest.mark.parametrize("permitting", [1, 2])
async def test_waiting_tasks_are_shown_as_in_a_cluster_that_allows_restarts(
    client: httpx.AsyncClient, resources: Resources, permitting: int
) -> None:
    """Also for takeovers without the permission, while one with it runs or waits."""
    tasks = {}
    for host in (1, 2):
        fields: dict[str, Any] = {"allowRestart": True} if host == permitting else {}
        tasks[host] = (await submit(client, host, **fields)).json()["data"]["contents"][0]["id"]
    async with resources.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO run (ident, task_instance_id, executor) VALUES (gen_random_uuid(), %s, 'worker-1')",
            (tasks[1],),
        )
    assert (await client.get(f"{TASKS}/{tasks[2]}")).json()["data"]["waitsFor"] == [tasks[1]]

    other = (
        "UPDATE task_instance SET context = jsonb_set(context, '{stringMap,obproxy_cluster_id}', '\"7\"') WHERE id = %s"
    )
    async with resources.database.transaction() as connection:
        await connection.execute(other, (tasks[permitting],))
        assert not (await fetch(connection, "restart_requested_in_cluster", cluster_id=1))[0]["requested"]
        assert (await fetch(connection, "restart_requested_in_cluster", cluster_id=7))[0]["requested"]
        await connection.execute("UPDATE task_instance SET status = 'FAILED', finish_time = now()")
        assert not (await fetch(connection, "restart_requested_in_cluster", cluster_id=7))[0]["requested"]
