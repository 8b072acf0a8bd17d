"""OBProxy servers and their parameters in SQL: each query concerns only its own servers, hosts and clusters."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from service.store.database import execute, fetch
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.named_queries import change, insert_server, read, rows, write
from tests.integration.users import ADMIN

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def insert_parameters(
    resources: Resources, server_id: int, settings: dict[str, str], definitions: list[str], days: int
) -> None:
    statement = "INSERT INTO server_parameters VALUES (%s, %s, %s, %s)"
    named = Jsonb({name: name for name in definitions})
    await change(resources, statement, server_id, Jsonb(settings), named, LONG_AGO + timedelta(days=days))


async def changed(resources: Resources, query: str, **values: Any) -> dict[int, set[str]]:
    """Execute a query; return the servers that it writes, with the names of the columns that it changes."""

    async def stored() -> dict[int, dict[str, Any]]:
        async with resources.database.autocommit() as connection:
            cursor = await connection.execute("SELECT xmin::text AS written, * FROM obproxy_server")
            return {row["id"]: row for row in await cursor.fetchall()}

    before = await stored()
    await write(resources, query, **values)
    after = await stored()
    assert before.keys() == after.keys()
    columns = {id: {name for name in row if row[name] != before[id][name]} for id, row in after.items()}
    return {id: names - {"written"} for id, names in columns.items() if names}


async def test_servers_of_a_takeover_are_new_or_those_of_a_failed_one(resources: Resources) -> None:
    left, managed = await insert_server(resources, 1, status="TAKINGOVER"), await insert_server(resources, 2)
    places = {"host_ids": [3, 2, 1], "sql_ports": [2883] * 3}
    values = {"cluster_id": 7, "cluster_name": "other", "host_names": ["c", "b", "a"], "ips": ["z", "y", "x"]}

    returned = await read(resources, "upsert_servers", **places, **values)

    assert [row["host_id"] for row in returned] == [1, 3] and returned[0]["id"] == left
    servers = {row["id"]: (row["cluster_id"], row["ip"]) for row in await rows(resources, "obproxy_server")}
    assert servers == {left: (7, "x"), managed: (1, "192.0.2.2"), returned[1]["id"]: (7, "z")}


async def test_servers_are_found_by_place_cluster_and_exporter(resources: Resources) -> None:
    second = await insert_server(resources, 2, 2884, cluster_id=7, cluster_name="former", exporter_port=1)
    first = await insert_server(resources, 2, 2883, cluster_id=7, cluster_name="seven", exporter_port=1)
    other = await insert_server(resources, 1)
    taken = await insert_server(resources, 3, status="TAKINGOVER", exporter_port=1)

    async def found(query: str, **values: Any) -> list[int]:
        return [row["id"] for row in await read(resources, query, **values)]

    places = {"host_ids": [2, 1, 3], "sql_ports": [2883] * 3}
    assert await found("managed_servers_by_host_and_port", **places) == [other, first]
    assert await found("server_by_id", server_id=other) == [other]
    assert await found("servers_of_clusters", cluster_ids=[7]) == [second, first]
    assert await found("servers_of_hosts", host_ids=[2]) == [first, second]
    assert await found("servers_of_hosts", host_ids=[3]) == [taken]
    assert await found("managed_servers_of_hosts", host_ids=[3, 2]) == [first, second]
    assert await found("servers_with_exporter") == [second, first]
    on = [row["host_id"] for row in await read(resources, "hosts_of_servers", server_ids=[first, other])]
    assert sorted(on) == [1, 2]
    clusters = [(row["cluster_id"], row["cluster_name"]) for row in await read(resources, "clusters_with_servers")]
    assert sorted(clusters) == [(1, "test"), (7, "seven")]


async def test_a_server_is_locked_by_its_place_or_id(resources: Resources) -> None:
    ids = [await insert_server(resources, host_id, port) for host_id, port in ((1, 2883), (1, 2884), (2, 2883))]
    query, place = "lock_server_by_host_and_port", {"host_id": 1, "sql_port": 2883}
    async with resources.database.transaction() as holder:
        assert [row["id"] for row in await fetch(holder, query, **place)] == ids[:1]
        assert [row["id"] for row in await fetch(holder, "lock_servers", server_ids=ids[1:2])] == ids[1:2]
        async with resources.database.transaction() as other:
            await other.execute("SET LOCAL lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await execute(other, query, **place)


async def test_the_end_of_a_workflow_changes_its_server(resources: Resources) -> None:
    values: dict[str, Any] = {"operate_status": "OPERATING", "update_time": LONG_AGO}
    one, other = [await insert_server(resources, number, status="TAKINGOVER", **values) for number in (1, 2)]
    set_status = "UPDATE obproxy_server SET status = %s WHERE id = %s"

    managed_again = {"server_id": one, "statuses": ["RESTARTING"]}
    assert await changed(resources, "mark_server_managed_again", **managed_again) == {}
    assert await changed(resources, "delete_server_in_status", server_id=one, status="DELETING") == {}
    managed = {"status", "operate_status", "last_active_time", "update_time"}
    assert await changed(resources, "mark_server_managed", server_id=one, only_operating=True) == {one: managed}
    assert await changed(resources, "mark_server_managed", server_id=one, only_operating=True) == {}
    again = {"last_active_time", "update_time"}
    assert await changed(resources, "mark_server_managed", server_id=one, only_operating=False) == {one: again}
    operating = {"server_ids": [one], "status": "RESTARTING"}
    states = {"status", "operate_status", "update_time"}
    assert await changed(resources, "mark_servers_operating", **operating) == {one: states}
    await change(resources, set_status, "RESTARTING", other)
    assert await changed(resources, "mark_server_managed_again", **managed_again) == {one: states}
    await change(resources, set_status, "RUNNING", other)
    await write(resources, "delete_server_in_status", server_id=one, status="RUNNING")
    assert [row["host_id"] for row in await rows(resources, "obproxy_server")] == [2]


async def test_facts_of_a_run_and_a_discovery_are_those_of_their_server(resources: Resources) -> None:
    one, _ = [await insert_server(resources, number, exporter_port=1, version="4") for number in (1, 2)]

    async def update(query: str, **facts: Any) -> dict[int, set[str]]:
        return await changed(resources, query, server_id=one, values=Jsonb(facts))

    of_run, of_discovery = "update_server_facts", "update_managed_server_facts"
    assert await update(of_run, version="5") == {one: {"learned", "version", "last_active_time", "update_time"}}
    assert await update(of_run, exporter_port=None) == {
        one: {"learned", "exporter_port", "last_active_time", "update_time"}
    }
    assert await update(of_discovery, version="5") == {}
    assert await update(of_discovery, version="6") == {one: {"learned", "version", "update_time"}}
    assert await update(of_discovery, discovered="now") == {one: {"learned"}}
    await change(resources, "UPDATE obproxy_server SET status = 'TAKINGOVER'")
    assert await update(of_discovery, version="7") == {}


async def test_the_latest_task_instance_of_hosts_and_servers_is_found(resources: Resources) -> None:
    ids, servers = [], []
    for host_id, check in ((1, False), (2, False), (1, False), (1, True)):
        hosts = [HostRequest(host_id=host_id, sql_port=2883)]
        ((task, _),) = await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t", check=check)
        ids.append(task.id)
        servers.append(task.obproxy_server_id)
        await change(resources, "UPDATE task_instance SET status = 'FAILED', finish_time = now() WHERE host_id = 1")
    for task_id, ended in ((ids[2], True), (ids[1], False)):
        await write(resources, "insert_run", ident=uuid4(), task_id=task_id, executor="x")
        if ended:
            await write(resources, "finish_runs_of_task", task_id=task_id)

    async def latest(query: str, **values: Any) -> list[tuple[int, int, bool]]:
        found = await read(resources, query, **values)
        return sorted((row["subject_id"], row["id"], row["has_run"]) for row in found)

    assert servers[0] == servers[2] and servers[3] is None
    assert await latest("latest_tasks_of_servers", server_ids=servers[:2]) == [
        *((servers[0], ids[2], False), (servers[1], ids[1], True))
    ]
    assert await latest("latest_tasks_of_hosts", host_ids=[1, 2, 3]) == [(1, ids[2], False), (2, ids[1], True)]
    await change(resources, "UPDATE task_instance SET status = 'RUNNING', finish_time = NULL WHERE id = %s", ids[3])
    assert await latest("latest_tasks_of_hosts", host_ids=[1]) == [(1, ids[3], False)]


async def test_a_host_is_reached_by_a_subtask_that_has_run_there(resources: Resources) -> None:
    hosts = [HostRequest(host_id=number, sql_port=2883) for number in (1, 2)]
    tasks = [task.id for task, _ in await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")]

    async def reached() -> list[int]:
        return [row["id"] for row in await read(resources, "reached_hosts", host_ids=[1, 2, 3])]

    statement = "UPDATE subtask_instance SET status = %s, operation = %s WHERE task_instance_id = %s"
    for status, operation, expected in (
        *(("RUNNING", "EXECUTE", []), ("SUCCESSFUL", "SKIP", []), ("SUCCESSFUL", "ROLLBACK", [2])),
    ):
        await change(resources, statement, status, operation, tasks[1])
        assert await reached() == expected


async def test_parameters_of_a_server_are_written_when_they_change(resources: Resources) -> None:
    one, two = [await insert_server(resources, number) for number in (1, 2)]
    for server_id, value in ((one, "1"), (two, "2")):
        await insert_parameters(resources, server_id, {"a": value}, ["a"], 0)

    async def stored() -> list[tuple[dict[str, str], bool]]:
        found = await rows(resources, "server_parameters", "server_id")
        return [(row["settings"], row["update_time"] > LONG_AGO) for row in found]

    same = {"settings": Jsonb({"a": "1"}), "definitions": Jsonb({"a": "a"})}
    await write(resources, "upsert_server_parameters", server_id=one, **same)
    assert await stored() == [({"a": "1"}, False), ({"a": "2"}, False)]
    await write(resources, "merge_server_parameters", server_id=one, settings=Jsonb({"b": "2"}))
    assert await stored() == [({"a": "1", "b": "2"}, True), ({"a": "2"}, False)]
    await write(resources, "upsert_server_parameters", server_id=one, **same)
    assert await stored() == [({"a": "1"}, True), ({"a": "2"}, False)]

    await change(resources, "DELETE FROM server_parameters WHERE server_id = %s", two)
    found = [await read(resources, "server_with_parameters", server_id=server_id) for server_id in (one, two)]
    assert [[row["settings"] for row in servers] for servers in found] == [[{"a": "1"}], [None]]


async def test_parameters_of_a_cluster_are_those_of_its_servers(resources: Resources) -> None:
    versions = {1: "4.2-1", 2: "4.3-2", 3: "4.3-2", 4: "4.3-1", 5: None, 6: "4.3-2"}
    parameters: dict[int, tuple[dict[str, str], list[str], int]] = {  # settings, definitions, age
        1: ({"a": "3", "b": "5"}, ["of 4.2"], 4),
        2: ({"a": "2"}, ["older"], 1),
        3: ({"a": "2"}, ["newer"], 2),
        4: ({"a": "1"}, ["other build"], 3),
        5: ({}, ["unknown"], 9),
        6: ({"a": "1"}, ["other cluster"], 8),
    }
    ids = {
        number: await insert_server(resources, number, version=version, cluster_id=7 if number == 6 else 1)
        for number, version in reversed(versions.items())
    }
    for number, values in parameters.items():
        await insert_parameters(resources, ids[number], *values)

    async def definitions(query: str, **values: Any) -> list[str]:
        return [name for row in await read(resources, query, **values) for name in row["definitions"]]

    found = await read(resources, "parameter_values_of_cluster", cluster_id=1)
    assert [(row["name"], row["value"], row["ips"]) for row in found] == [
        ("a", "2", ["192.0.2.3", "192.0.2.2"]),
        *(("a", "1", ["192.0.2.4"]), ("a", "3", ["192.0.2.1"]), ("b", "5", ["192.0.2.1"])),
    ]
    assert await definitions("parameter_definitions_of_cluster", cluster_id=1) == [
        *("newer", "other build", "of 4.2", "unknown")
    ]
    assert await definitions("parameter_definitions_by_version") == ["of 4.2", "other cluster"]
