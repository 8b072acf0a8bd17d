"""Health checks and discoveries in SQL: each query changes only its servers, in the states that it is for."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.named_queries import change, insert_server, read, rows, wait_for_lock, write
from tests.integration.users import ADMIN

DEADLINE = 30.0  # seconds
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def insert(resources: Resources, host_id: int, status: str = "RUNNING", **columns: Any) -> int:
    """Insert a server that was changed long ago."""
    times = {"create_time": LONG_AGO, "update_time": LONG_AGO}
    return await insert_server(resources, host_id, status=status, **times | columns)


async def check(resources: Resources, server_id: int, *, answered: bool, looked: datetime = LONG_AGO) -> None:
    await change(resources, "INSERT INTO server_check VALUES (%s, %s, %s)", server_id, answered, looked)


async def changed(resources: Resources, query: str, **values: Any) -> tuple[set[int], dict[int, set[str]]]:
    """Execute a query; return the ids that it returns, and the names of the columns that it changes by server."""
    before = {row["id"]: row for row in await rows(resources, "obproxy_server")}
    returned = {row["id"] for row in await read(resources, query, **values)}
    after = await rows(resources, "obproxy_server")
    columns = {row["id"]: {name for name in row if row[name] != before[row["id"]][name]} for row in after}
    return returned, {server_id: names for server_id, names in columns.items() if names}


async def checks(resources: Resources) -> dict[int, tuple[bool, datetime]]:
    found = await rows(resources, "server_check", "server_id")
    return {row["server_id"]: (row["answered"], row["looked"]) for row in found}


async def test_a_round_is_claimed_once(resources: Resources) -> None:
    async with asyncio.timeout(DEADLINE), resources.database.autocommit() as watching:
        async with resources.database.transaction() as connection:
            await connection.execute("UPDATE server_check_round SET started = now()")
            second = asyncio.create_task(read(resources, "claim_health_check_round", interval=60))
            await wait_for_lock(watching, second)
        assert await second == []


async def test_managed_servers_are_checked(resources: Resources) -> None:
    answering, silent, unknown = [await insert(resources, number) for number in (1, 2, 3)]
    await insert(resources, 4, "TAKINGOVER")
    await check(resources, answering, answered=True)
    await check(resources, silent, answered=False)

    found = await read(resources, "servers_to_health_check")

    assert {row["id"]: row["answered"] for row in found} == {answering: True, silent: False, unknown: False}
    assert len(found) == 3


async def test_servers_that_answer_are_running(resources: Resources) -> None:
    now = datetime.now(UTC)
    recent = await insert(resources, 1, last_active_time=now)
    old, never = await insert(resources, 2, last_active_time=LONG_AGO), await insert(resources, 3)
    silent = await insert(resources, 4, "UNAVAILABLE", last_active_time=now)
    taken = await insert(resources, 5, "TAKINGOVER", last_active_time=LONG_AGO)
    await insert(resources, 6, last_active_time=LONG_AGO)

    ids = [recent, old, never, silent, taken]
    returned, columns = await changed(resources, "mark_servers_answering", server_ids=ids, min_age=60)

    assert returned == {silent}
    active, again = {"last_active_time"}, {"status", "last_active_time", "update_time"}
    assert columns == {old: active, never: active, silent: again}


async def test_servers_that_answered_and_are_silent_are_unavailable(resources: Resources) -> None:
    silent, unknown, other = [await insert(resources, number) for number in (1, 2, 4)]
    unavailable = await insert(resources, 3, "UNAVAILABLE")
    for server_id in (silent, unavailable, other):
        await check(resources, server_id, answered=True)
    await check(resources, unknown, answered=False)

    ids = [silent, unknown, unavailable]
    returned, columns = await changed(resources, "mark_servers_unavailable", server_ids=ids, before=LONG_AGO)

    assert (returned, columns) == ({silent}, {silent: {"status", "last_active_time", "update_time"}})


async def test_answers_and_requests_for_a_discovery_are_recorded_for_their_servers(resources: Resources) -> None:
    known, new, _ = [await insert(resources, number) for number in (1, 2, 3)]
    await check(resources, known, answered=False)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    await write(resources, "request_first_discovery", server_ids=[known, new])
    assert await checks(resources) == {known: (False, LONG_AGO), new: (False, epoch)}
    await write(resources, "record_servers_answered", server_ids=[known])
    assert await checks(resources) == {known: (True, LONG_AGO), new: (False, epoch)}
    await change(resources, "DELETE FROM server_check WHERE server_id = %s", new)
    for ids in ([new], [known]):
        await write(resources, "request_discovery", server_ids=ids)
    assert await checks(resources) == {known: (True, epoch), new: (True, epoch)}
    await change(resources, "DELETE FROM server_check")
    await write(resources, "record_servers_answered", server_ids=[known])
    assert (await checks(resources)).keys() == {known}


async def test_servers_are_claimed_for_discovery_the_oldest_first(resources: Resources) -> None:
    now = datetime.now(UTC)
    later, first, second, unknown, recent = [await insert(resources, number) for number in range(1, 6)]
    await insert(resources, 6, create_time=now)
    taken = await insert(resources, 7, "TAKINGOVER")
    for server_id, days in ((later, 3), (first, 2), (second, 2), (taken, 9)):
        await check(resources, server_id, answered=True, looked=LONG_AGO + timedelta(days=days))
    await check(resources, recent, answered=True, looked=now)

    async def claimed(limit: int, limit_when_requested: int = 0) -> set[int]:
        values = {"interval": 3600, "limit": limit, "limit_when_requested": limit_when_requested}
        return {row["server_id"] for row in await read(resources, "claim_servers_for_discovery", **values)}

    assert await claimed(1, 2) == {unknown}, "nothing was requested"
    assert await claimed(1) == {first}
    await write(resources, "request_discovery", server_ids=[later, second])
    assert await claimed(1, 2) == {later, second}
    assert await claimed(9) == set()


async def test_a_managed_server_is_found_for_discovery(resources: Resources) -> None:
    running, _, taken = await insert(resources, 1), await insert(resources, 2), await insert(resources, 3, "TAKINGOVER")
    found = [await read(resources, "server_for_discovery", server_id=server_id) for server_id in (running, taken)]
    assert [[row["id"] for row in servers] for servers in found] == [[running], []]


async def test_runs_of_a_server_since_a_moment_are_its_own(resources: Resources) -> None:
    hosts = [HostRequest(host_id=number, sql_port=2883) for number in (1, 2)]
    (task, _), (other, _) = await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")
    await write(resources, "insert_run", ident=uuid4(), task_id=task.id, executor="x")

    for ended, expected in ((None, 1), (LONG_AGO, 1), (LONG_AGO - timedelta(seconds=1), 0)):
        await change(resources, "UPDATE run SET finish_time = %s", ended)
        for server_id, number in ((task.obproxy_server_id, expected), (other.obproxy_server_id, 0)):
            runs = await read(resources, "runs_of_server_since", server_id=server_id, began=LONG_AGO)
            assert len(runs) == number


async def test_a_discovered_server_is_running_and_its_health_check_is_ignored(resources: Resources) -> None:
    running, taken = await insert(resources, 1), await insert(resources, 2, "TAKINGOVER")
    unavailable, other = [await insert(resources, number, "UNAVAILABLE") for number in (3, 4)]
    for server_id in (running, unavailable, other):
        await check(resources, server_id, answered=True)

    query = "mark_discovered_server_running"
    assert await changed(resources, query, server_id=running) == (set(), {running: {"last_active_time"}})
    assert await changed(resources, query, server_id=taken) == (set(), {})
    assert all(answered for answered, _ in (await checks(resources)).values())
    returned, columns = await changed(resources, query, server_id=unavailable)
    assert returned == {unavailable}
    assert columns == {unavailable: {"status", "last_active_time", "update_time"}}
    assert {server_id: answered for server_id, (answered, _) in (await checks(resources)).items()} == {
        running: True,
        unavailable: False,
        other: True,
    }


async def test_a_server_is_unavailable_if_neither_a_discovery_nor_a_health_check_finds_it(resources: Resources) -> None:
    answering, silent, unknown = [await insert(resources, number) for number in (1, 2, 3)]
    taken = await insert(resources, 4, "TAKINGOVER")
    await check(resources, answering, answered=True)
    await check(resources, silent, answered=False)

    query = "mark_undiscovered_server_unavailable"
    for server_id in (answering, taken):
        assert await changed(resources, query, server_id=server_id) == (set(), {})
    for server_id in (silent, unknown):
        expected = ({server_id}, {server_id: {"status", "update_time"}})
        assert await changed(resources, query, server_id=server_id) == expected
