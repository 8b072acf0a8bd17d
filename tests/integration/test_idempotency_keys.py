"""A repeated request with its Idempotency-Key gets the stored response, whatever has changed in between."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from service.model.workflow import TAKEOVER
from service.tasks.resources import Resources
from tests.integration.external_run_reports import run_report
from tests.integration.http_helpers import assert_failure, count_rows, take_over, take_over_body
from tests.integration.sample_tasks import advance

CLUSTER = "/api/v2/obproxy/clusters/1"
KEY = {"Idempotency-Key": "k"}
Request = tuple[str, dict[str, Any]]


@pytest.fixture
def resources(app: Starlette) -> Resources:
    """Return the resources of the application."""
    opened: Resources = app.state.resources
    return opened


async def _managed_server(client: httpx.AsyncClient, resources: Resources) -> int:
    (document,) = await take_over(client, 1)
    await advance(resources, document["id"], resources.workflows[TAKEOVER].roles)
    return int(document["context"]["stringMap"]["obproxy_server_id"])


async def _new(operation: str, client: httpx.AsyncClient, resources: Resources) -> Request:
    """Return path and body of a request that is valid now."""
    if operation.startswith("takeOver"):
        return f"{CLUSTER}/{operation}", take_over_body(1)
    server = await _managed_server(client, resources)
    if operation == "servers/release":
        return f"{CLUSTER}/{operation}", {"obproxyServerIds": [server]}
    return f"{CLUSTER}/obproxies/{server}/{operation}", {}


async def _remove_host(_client: httpx.AsyncClient, _resources: Resources, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("odp-1: {ansible_host: 192.0.2.11, ocp_host_id: 1}", "other:"))


async def _remove_cluster(_client: httpx.AsyncClient, _resources: Resources, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("obproxy_cluster_id: 1\n", "obproxy_cluster_id: 2\n"))


async def _run_another(client: httpx.AsyncClient, resources: Resources, _inventory: Path) -> None:
    """End the task instance, move its OBProxy server, if it has one, and start another takeover on its host."""
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE task_instance SET status = 'SUCCESSFUL', finish_time = now()")
        await connection.execute("UPDATE obproxy_server SET status = 'RUNNING', sql_port = 2999")
    await take_over(client, 1)


@pytest.mark.parametrize("change", [_remove_host, _remove_cluster, _run_another])
@pytest.mark.parametrize("operation", ["takeOver", "takeOver/precheck", "refresh", "restart", "servers/release"])
async def test_the_stored_response_is_returned_after_a_change(
    client: httpx.AsyncClient,
    resources: Resources,
    inventory_file: Path,
    operation: str,
    change: Callable[[httpx.AsyncClient, Resources, Path], Awaitable[None]],
) -> None:
    path, body = await _new(operation, client, resources)
    first = await client.post(path, json=body, headers=KEY)
    assert first.status_code == 200, first.text
    await change(client, resources, inventory_file)
    before = await count_rows(resources)

    again = await client.post(path, json=body, headers=KEY)

    assert (again.status_code, again.json()["data"]) == (200, first.json()["data"]), again.text
    assert again.headers["Location"] == first.headers["Location"]
    assert await count_rows(resources) == before
    assert (await client.post(path, json=body)).status_code in (400, 404, 409)  # a new request is checked


async def test_a_different_body_is_rejected_before_it_is_checked(client: httpx.AsyncClient) -> None:
    path = f"{CLUSTER}/takeOver"
    assert (await client.post(path, json=take_over_body(1), headers=KEY)).status_code == 200
    for other in (take_over_body(99), take_over_body(1, 2)):
        answer = await client.post(path, json=other, headers=KEY)
        assert answer.status_code == 409 and "Idempotency-Key k was used" in assert_failure(answer).error.message


@pytest.mark.parametrize("operation", ["takeOver", "servers/release"])
async def test_a_rejected_request_leaves_no_key(
    client: httpx.AsyncClient, resources: Resources, inventory_file: Path, operation: str
) -> None:
    path, body = await _new(operation, client, resources)
    usual = inventory_file.read_text()
    await _remove_host(client, resources, inventory_file)
    assert (await client.post(path, json=body, headers=KEY)).status_code in (400, 404)
    async with resources.database.transaction() as connection:
        assert not await (await connection.execute("SELECT key FROM idempotency_key")).fetchall()
    inventory_file.write_text(usual)
    assert (await client.post(path, json=body, headers=KEY)).status_code == 200


async def test_concurrent_requests_with_one_key_submit_once(client: httpx.AsyncClient) -> None:
    path, body = f"{CLUSTER}/takeOver", take_over_body(1)
    answers = await asyncio.gather(*(client.post(path, json=body, headers=KEY) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({str(answer.json()["data"]) for answer in answers}) == 1


async def test_a_recorded_run_is_returned_after_its_host_has_left_the_inventory(
    client: httpx.AsyncClient, resources: Resources, inventory_file: Path
) -> None:
    body = run_report()
    first = await client.post("/api/v2/obproxy/externalRuns", json=body)
    await _remove_host(client, resources, inventory_file)
    again = await client.post("/api/v2/obproxy/externalRuns", json=body)
    assert (again.status_code, again.json()["data"]) == (200, first.json()["data"]), again.text
