"""Test the restart of OBProxy servers: its permissions, their place in the task instances and the servers."""

from typing import Any

import httpx
import pytest

from service.model.tasks import ALLOW_COLD_RESTART, ALLOW_RESTART
from service.model.workflow import RESTART
from service.tasks import instances, waiting
from service.tasks.resources import Resources
from service.worker import job
from tests.integration.http_helpers import assert_failure, count_rows
from tests.integration.sample_tasks import advance
from tests.integration.test_release import managed, statuses

PATH = "/api/v2/obproxy/clusters/1/obproxies/{}/restart"


async def restart(client: httpx.AsyncClient, *server_ids: int, **options: Any) -> list[dict[str, Any]]:
    answer = await client.post(PATH.format(",".join(map(str, server_ids))), **options)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"]["contents"])


async def test_a_restart_is_a_task_instance_per_server(client: httpx.AsyncClient, resources: Resources) -> None:
    first, second = await managed(client, resources, 1, 2)

    documents = await restart(client, first, second)

    assert {(document["name"], document["status"]) for document in documents} == {("Restart obproxy", "RUNNING")}
    assert await statuses(resources) == {first: "RUNNING", second: "RUNNING"}, "no run has started"
    inventory = await resources.inventory.current()
    async with resources.database.transaction() as connection:
        assert await waiting.concurrency_limit(connection, resources, inventory.clusters[1]) == 1
    for document in documents:
        await advance(resources, document["id"], resources.workflows[RESTART].roles)
    assert await statuses(resources) == {first: "RUNNING", second: "RUNNING"}


@pytest.mark.parametrize("allowed", [False, True])
async def test_the_request_is_the_permission(client: httpx.AsyncClient, resources: Resources, allowed: bool) -> None:
    (server,) = await managed(client, resources, 1)

    (document,) = await restart(client, server, json={"allowColdRestart": allowed})

    strings = document["context"]["stringMap"]
    assert strings[ALLOW_RESTART] == "true"
    assert strings.get(ALLOW_COLD_RESTART) == ("true" if allowed else None)
    task, subtasks = await instances.get(resources.database, document["id"])
    spec, _ = await job._run_spec(resources, task, subtasks)
    assert spec.inputs.allow_restart is True
    assert spec.inputs.variables == {
        "obproxy_restart_id": task.context["stringMap"]["obproxy_restart_id"],
        **({ALLOW_COLD_RESTART: True} if allowed else {}),
    }


async def test_the_inventory_forbids_a_restart(
    client: httpx.AsyncClient, resources: Resources, inventory_file: Any
) -> None:
    (server,) = await managed(client, resources, 1)
    (document,) = await restart(client, server)
    task, subtasks = await instances.get(resources.database, document["id"])
    name = task.host_name
    text = inventory_file.read_text()
    inventory_file.write_text(text)
    (inventory_file.parent / "host_vars").mkdir(exist_ok=True)
    (inventory_file.parent / "host_vars" / f"{name}.yml").write_text("obproxy_allow_restart: false\n")
    inventory_file.touch()

    spec, _ = await job._run_spec(resources, task, subtasks)
    assert spec.inputs.allow_restart is False

    await advance(resources, document["id"], [], "check_obproxy_managed", "It does not answer.")
    before = await count_rows(resources)
    answer = await client.post(PATH.format(server))
    assert answer.status_code == 400
    assert assert_failure(answer).error.message == (
        f"The inventory forbids a restart on host {name} of OBProxy server {server}: "
        "obproxy_allow_restart is false. Set it to true or remove it."
    )
    assert await count_rows(resources) == before
