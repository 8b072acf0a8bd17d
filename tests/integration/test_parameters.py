"""The parameters of OBProxy servers: from the results of runs to OCP's documents (docs/reference/ocp-api.md 1.4)."""

import re
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb
from starlette.applications import Starlette

from service.outcome.run_progress import ServerFacts
from service.store.database import execute
from service.tasks import instances
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.server_facts import record_discovery_error
from tests.integration.http_helpers import assert_envelope, assert_failure, assert_sorted, take_over

OF_CLUSTER = "/api/v2/obproxy/clusters/{}/parameters"
INFO = "/api/v2/obproxy/parameterInfo"

DEFINITIONS: dict[str, list[Any]] = {
    "proxy_mem_limited": ["proxy memory limited, [100MB, 100G]", False, "[100MB,100G]", False],
    "work_thread_num": ["thread num of proxy", True, "[1,128]", False],
    "enable_sharding": ["if enabled", False, "", False],
    "app_name": ["current application name", True, "", True],
}
SETTINGS = {"proxy_mem_limited": "2G", "work_thread_num": "4", "enable_sharding": "False", "app_name": "test"}


@pytest.fixture
def resources(app: Starlette) -> Resources:
    """Return the resources of the application."""
    opened: Resources = app.state.resources
    return opened


async def record_facts(resources: Resources, task: dict[str, Any], **values: Any) -> None:
    """Record server facts as a run of this task instance does."""
    _, subtasks = await instances.get(resources.database, task["id"])
    recorder = Recorder(resources, task["id"])
    await recorder.record([ServerFacts(role=subtasks[0].role, values=values)])


async def contents(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    body = assert_envelope(await client.get(path))
    assert_sorted(body)
    assert list(body["data"]) == ["contents"]
    found: list[dict[str, Any]] = body["data"]["contents"]
    return found


async def test_each_parameter_has_its_values_and_their_servers(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await take_over(client, 1, 2, 3)
    for task, memory in zip(tasks, ("2G", "3G", "2G"), strict=True):
        settings = {**SETTINGS, "proxy_mem_limited": memory}
        await record_facts(resources, task, version="4.3.1.0-1", parameters=settings, parameter_definitions=DEFINITIONS)

    found = await contents(client, OF_CLUSTER.format(1))

    assert [parameter["name"] for parameter in found] == sorted(SETTINGS)
    assert found[2] == {
        "description": "proxy memory limited, [100MB, 100G]",
        "name": "proxy_mem_limited",
        "needReboot": False,
        "valueString": "2G,3G",
        "values": [
            {"obproxies": ["192.0.2.11", "192.0.2.13"], "value": "2G"},
            {"obproxies": ["192.0.2.12"], "value": "3G"},
        ],
    }
    assert (found[3]["needReboot"], found[3]["valueString"], len(found[3]["values"])) == (True, "4", 1)


async def test_changed_parameters_override_the_read_ones(client: httpx.AsyncClient, resources: Resources) -> None:
    (task,) = await take_over(client, 1)
    await record_facts(resources, task, parameters={"lonely": "1"})  # of a server whose parameters were never read
    assert await contents(client, OF_CLUSTER.format(1)) == []
    await record_facts(resources, task, parameters=SETTINGS, parameter_definitions=DEFINITIONS)
    await record_facts(resources, task, parameters={"work_thread_num": "8"}, pending_restart=["work_thread_num"])
    values = {parameter["name"]: parameter["valueString"] for parameter in await contents(client, OF_CLUSTER.format(1))}
    assert values == {**SETTINGS, "work_thread_num": "8"}

    fewer = {"work_thread_num": DEFINITIONS["work_thread_num"]}  # of another version, after an upgrade
    await record_facts(resources, task, parameters={"work_thread_num": "8"}, parameter_definitions=fewer)
    assert [parameter["name"] for parameter in await contents(client, OF_CLUSTER.format(1))] == ["work_thread_num"]


async def test_a_change_of_a_run_is_no_unmanaged_change(client: httpx.AsyncClient, resources: Resources) -> None:
    (task,) = await take_over(client, 1)
    read: dict[str, Any] = {"pid": 7, "parameters": SETTINGS, "parameter_definitions": DEFINITIONS}
    await record_facts(resources, task, **read)
    shown = await server(client)
    assert (shown["unmanagedChanges"], "discoveryError" in shown) == ([], False)

    restarted = read | {"pid": 8, "parameters": SETTINGS | {"work_thread_num": "8", "proxy_mem_limited": "3G"}}
    await record_facts(resources, task, parameters={"proxy_mem_limited": "3G"})
    await record_facts(resources, task, **restarted, is_rediscovered=True)
    await record_facts(resources, task, **restarted)
    assert (await server(client))["unmanagedChanges"] == []


async def test_changes_by_others_are_shown_until_the_parameters_are_set(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    (task,) = await take_over(client, 1)
    read: dict[str, Any] = {"pid": 7, "parameters": SETTINGS, "parameter_definitions": DEFINITIONS}
    await record_facts(resources, task, **read)
    changed = read | {"pid": 9, "parameters": SETTINGS | {"work_thread_num": "8", "app_name": "other"}}
    drift = [{"name": "work_thread_num", "expected": "4", "found": "8"}]
    await record_facts(resources, task, **changed, parameter_drift=drift)

    shown = await server(client)
    seen = shown["lastDiscoveryTime"]
    assert shown["parameterDrift"] == drift
    assert shown["unmanagedChanges"] == [
        {"after": "pid 9", "before": "pid 7", "name": "obproxy", "seenTime": seen, "what": "process"},
        {"after": "8", "before": "4", "name": "work_thread_num", "seenTime": seen, "what": "parameter"},
    ]
    await record_facts(resources, task, pid=9, login_error="1045: Access denied")
    shown = await server(client)
    assert shown["discoveryError"] == "its parameters could not be read: 1045: Access denied"
    assert (shown["lastDiscoveryTime"], len(shown["unmanagedChanges"])) == (seen, 2)

    await record_facts(resources, task, parameters={"work_thread_num": "4"}, parameter_drift=[], is_synchronised=True)
    shown = await server(client)
    assert (shown["parameterDrift"], shown["unmanagedChanges"]) == ([], [])
    await record_facts(resources, task, **read | {"pid": 9})
    assert "discoveryError" not in await server(client)


async def test_the_error_of_a_discovery_may_be_any_text(client: httpx.AsyncClient, resources: Resources) -> None:
    (task,) = await take_over(client, 1)
    server_id = int(task["context"]["stringMap"]["obproxy_server_id"])
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE obproxy_server SET status = 'RUNNING'")
        await record_discovery_error(connection, server_id, "/tmp/\udcff\0: no such file")

    assert (await server(client))["discoveryError"] == "/tmp/?: no such file"


async def server(client: httpx.AsyncClient) -> dict[str, Any]:
    """Return the document of the only OBProxy server."""
    (found,) = assert_envelope(await client.get("/api/v2/obproxy/clusters/1"))["data"]["obproxies"]
    return dict(found)


async def test_large_facts_are_stored_separately_and_written_when_they_change(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    (task,) = await take_over(client, 1)
    written = []
    for _ in range(2):
        await record_facts(resources, task, pid=7, parameters=SETTINGS, parameter_definitions=DEFINITIONS)
        async with resources.database.transaction() as connection:
            (server,) = await (await connection.execute("SELECT learned FROM obproxy_server")).fetchall()
            cursor = await connection.execute("SELECT xmin::text, settings FROM server_parameters")
            written += await cursor.fetchall()
        assert server["learned"]["pid"] == 7 and not server["learned"].keys() & {"parameters", "parameter_definitions"}
    assert written[0] == written[1] and written[0]["settings"] == SETTINGS

    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE task_instance SET obproxy_server_id = NULL")
        await execute(
            connection,
            "delete_server_in_status",
            server_id=int(task["context"]["stringMap"]["obproxy_server_id"]),
            status="TAKINGOVER",
        )
    assert await contents(client, OF_CLUSTER.format(1)) == []


async def test_a_cluster_without_servers_has_no_parameters_and_an_unknown_one_is_rejected(
    client: httpx.AsyncClient,
) -> None:
    assert await contents(client, OF_CLUSTER.format(7)) == []
    for cluster_id, status, code in (("99", 404, 21001), ("x", 400, 0)):
        answer = await client.get(OF_CLUSTER.format(cluster_id))
        assert (answer.status_code, assert_failure(answer).error.code) == (status, code)


async def test_parameter_definitions_of_each_version(client: httpx.AsyncClient, resources: Resources) -> None:
    older = {"work_thread_num": ["thread num", True, "", False]}
    for task, version, definitions in zip(
        await take_over(client, 1, 2, 3),
        ("4.3.1.0-1", "4.3.1.0-2", "1.9.1.1-1919579"),
        ({}, DEFINITIONS, older),  # of one version the server that was looked at last counts
        strict=True,
    ):
        await record_facts(resources, task, version=version, parameters=SETTINGS, parameter_definitions=definitions)

    found = await contents(client, INFO)

    assert [(info["version"], info["name"]) for info in found] == [
        ("1.9.1.1", "work_thread_num"),
        *(("4.3.1.0", name) for name in sorted(DEFINITIONS)),
    ]
    ids = [info.pop("id") for info in found]
    assert len(set(ids)) == 5 and all(0 < number < 2**53 for number in ids)
    assert found[-2] == {
        "allowedStringValues": "[100MB,100G]",
        "defaultValue": None,
        "description": "proxy memory limited, [100MB, 100G]",
        "explanation": None,
        "maxValue": "100G",
        "minValue": "100MB",
        "name": "proxy_mem_limited",
        "needRestart": False,
        "readonly": False,
        "type": "CAPACITY",
        "version": "4.3.1.0",
    }
    by_name = {info["name"]: info for info in found if info["version"] == "4.3.1.0"}
    assert (by_name["enable_sharding"]["minValue"], by_name["enable_sharding"]["allowedStringValues"]) == (
        "false",
        "[]",
    )
    assert by_name["app_name"]["readonly"] and by_name["work_thread_num"]["needRestart"]
    again = await contents(client, INFO)
    assert [info["id"] for info in again] == ids


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"name": "work_thread_num"}, 2),
        ({"name": "work_thread"}, 0),
        ({"version": "4.3.1.0"}, 4),
        ({"version": "4.3.1.0-1"}, 4),
        ({"version": "4.3"}, 4),
        ({"version": "4.3.1.00"}, 0),
        ({"version": "1.9.1"}, 4),
        ({"version": "1.9.1", "name": "app_name"}, 1),
        ({"version": "", "name": ""}, 8),
    ],
)
async def test_narrowed_by_name_and_version(
    client: httpx.AsyncClient, resources: Resources, query: dict[str, str], count: int
) -> None:
    for task, version in zip(await take_over(client, 1, 2), ("4.3.1.0-1", "1.9.1.1-1919579"), strict=True):
        await record_facts(resources, task, version=version, parameters=SETTINGS, parameter_definitions=DEFINITIONS)
    answer = await client.get(INFO, params=query)
    assert len(answer.json()["data"]["contents"]) == count


async def test_a_bad_query_names_the_field(client: httpx.AsyncClient) -> None:
    failure = assert_failure(await client.get(INFO, params={"name": "x" * 256, "version": "a\0"}))
    assert [error.field for error in failure.error.subErrors or ()] == ["name", "version"]


async def test_the_page_has_each_parameter_and_deviating_ones_first(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    tasks = await take_over(client, 1, 2, 3)
    for task, threads in zip(tasks, ("4", "8", "4"), strict=True):
        settings = {**SETTINGS, "work_thread_num": threads}
        await record_facts(resources, task, version="4.3.1.0-1", parameters=settings, parameter_definitions=DEFINITIONS)
    drift = Jsonb({"parameter_drift": [{"name": "work_thread_num", "expected": "4", "found": "8"}]})
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE obproxy_server SET status = 'RUNNING', learned = coalesce(learned, '{}') || %s WHERE host_id = 2",
            (drift,),
        )

    page = (await client.get("/clusters/1?view=parameters", headers={"Accept": "text/html"})).text
    servers = (await client.get("/clusters/1", headers={"Accept": "text/html"})).text

    table = page.split("All parameters</h2>")[1].partition("</table>")[0]
    rows = [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in table.split("<tr>")]
    assert [row.split()[0] for row in rows[2:]] == [
        "work_thread_num",
        "app_name",
        "enable_sharding",
        "proxy_mem_limited",
    ]
    assert "thread num of proxy 4 2 hosts 8 1 host 4 1 host deviates Yes" in rows[2]
    assert "2G 3 hosts" in rows[5] and rows[5].partition("2G")[2].split()[-1] == "No"
    assert "All parameters</h2>" not in servers and "Deviating parameters</h2>" in servers
    assert "refresh-time" in page and "refresh-time" not in servers, "only the servers are live"


async def test_the_page_of_a_large_cluster_has_its_servers_in_pages(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO obproxy_server"
            " (cluster_id, cluster_name, host_id, host_name, ip, sql_port, status, operate_status)"
            " SELECT 1, 'test', n, 'host-' || n, '192.0.2.1', 2883, 'RUNNING', 'NORMAL' FROM generate_series(1, 1000) n"
        )

    first = (await client.get("/clusters/1", headers={"Accept": "text/html"})).text
    last = (await client.get("/clusters/1?page=20", headers={"Accept": "text/html"})).text
    behind = (await client.get("/clusters/1?page=21", headers={"Accept": "text/html"})).text

    names = [re.findall(r">(host-\d+)</a>", page) for page in (first, last, behind)]
    assert [len(found) for found in names] == [50, 50, 0] and not set(names[0]) & set(names[1])
    assert "1000 entries" in first and "no OBProxy servers yet" not in behind
