"""Health checks and discoveries of managed OBProxy servers, against listeners on loopback; one thousand at once."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest

from service.tasks import submit
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest
from service.worker import discovery, health_checks
from service.worker.health_checks import Address, responding_addresses
from tests.integration.users import ADMIN
from tests.lab.instance import free_ports

GREETING = b"\x4a\x00\x00\x00\x0a5.6.25\x00"
TOO_MANY = b"\x17\x00\x00\x00\xff\x10\x04Too many connections"
SECONDS = 0.3
DEADLINE = 20.0
MANY = 1000
LOOKED_AT = (  # so long ago
    "INSERT INTO server_check (server_id, looked) SELECT id, now() - interval '{}' FROM obproxy_server RETURNING 1"
)


@asynccontextmanager
async def listening(port: int, first_words: bytes = GREETING, host: str = "127.0.0.1") -> AsyncIterator[None]:
    """Listen at a port, send this to each client, and then nothing."""

    async def send_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first_words)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(send_handshake, host, port, backlog=1024)
    async with server:
        yield


@pytest.fixture
def checked(resources: Resources) -> Resources:
    """Resources with rounds that are always due."""
    settings = resources.settings.model_copy(update={"server_check_interval": 1e-6, "server_check_timeout": SECONDS})
    return replace(resources, settings=settings)


async def insert(resources: Resources, addresses: Sequence[Address], status: str = "RUNNING") -> list[int]:
    """OBProxy servers at these addresses, taken over just now; their ids."""
    async with resources.database.transaction() as connection:
        cursor = await connection.execute(
            "INSERT INTO obproxy_server (cluster_id, cluster_name, host_id, host_name, ip, sql_port, status,"
            " operate_status, last_active_time) SELECT 1, 'test', a.position + %(offset)s, 'h' || a.position, a.ip,"
            " a.port, %(status)s::server_status, 'NORMAL', now()"
            " FROM unnest(%(ips)s::text[], %(ports)s::integer[]) WITH ORDINALITY AS a (ip, port, position)"
            " ORDER BY a.position RETURNING id",
            {
                "ips": [ip for ip, _ in addresses],
                "ports": [port for _, port in addresses],
                "status": status,
                "offset": 10_000 if status == "TAKINGOVER" else 0,
            },
        )
        return [row["id"] for row in await cursor.fetchall()]


async def rows(resources: Resources, query: str, **values: object) -> list[dict[str, Any]]:
    async with resources.database.transaction() as connection:
        return list(await (await connection.execute(query.encode(), values)).fetchall())


async def status(resources: Resources, server_id: int) -> str:
    (row,) = await rows(resources, "SELECT status FROM obproxy_server WHERE id = %(id)s", id=server_id)
    return str(row["status"])


async def queued_discoveries(resources: Resources) -> list[int]:
    """Return the servers with a queued discovery."""
    found = await rows(
        resources, "SELECT args FROM procrastinate_jobs WHERE task_name = 'look_at_server' AND priority < 0 ORDER BY id"
    )
    return [row["args"]["server_id"] for row in found]


async def test_only_a_server_that_sends_a_handshake_responds() -> None:
    good, full, mute, stranger, closed = free_ports(5)
    async with (
        listening(good),
        listening(full, TOO_MANY),
        listening(mute, b""),
        listening(stranger, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ):
        addresses = {("127.0.0.1", port) for port in (good, full, mute, stranger, closed)}
        unknown = {("no-such-host.invalid", good), ("a" * 64, good), ("two..dots", good)}
        found = await responding_addresses(addresses | unknown, SECONDS)

    assert found == {("127.0.0.1", good), ("127.0.0.1", full)}


async def test_a_name_server_that_does_not_respond_stops_only_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    responds = threading.Event()

    def lookup(*_: object, **__: object) -> NoReturn:
        responds.wait(DEADLINE)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    try:
        assert await responding_addresses({(f"odp-{number}", 2883) for number in range(100)}, SECONDS) == set()
        async with asyncio.timeout(DEADLINE / 2):
            await asyncio.to_thread(int)
    finally:
        responds.set()


async def test_a_name_is_checked_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    addresses = [("127.0.0.2", 0), ("127.0.0.1", 0)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", address) for address in addresses])
    async with listening(port):
        assert await responding_addresses({("odp-1", port)}, SECONDS) == {("odp-1", port)}


async def test_one_that_stops_answering_is_unavailable_and_running_again_later(checked: Resources) -> None:
    (port,) = free_ports(1)
    (server,) = await insert(checked, [("127.0.0.1", port)])
    async with listening(port):
        await health_checks.check_round(checked)
    assert await status(checked, server) == "RUNNING"
    seen = datetime.now(UTC)

    await health_checks.check_round(checked)
    assert await status(checked, server) == "UNAVAILABLE"
    (row,) = await rows(checked, "SELECT last_active_time FROM obproxy_server")
    assert abs(row["last_active_time"] - seen) < timedelta(seconds=5), "last seen in the round before"
    assert await queued_discoveries(checked) == []

    async with listening(port):
        await health_checks.check_round(checked)
    assert await status(checked, server) == "RUNNING"
    assert await queued_discoveries(checked) == [server], "it may be of another version now"


async def test_one_that_is_being_taken_over_is_left_alone(checked: Resources) -> None:
    (port,) = free_ports(1)
    (server,) = await insert(checked, [("127.0.0.1", port)], status="TAKINGOVER")
    await rows(
        checked, "INSERT INTO server_check (server_id, answered) SELECT id, true FROM obproxy_server RETURNING 1"
    )
    before = await rows(checked, "SELECT xmin::text, * FROM obproxy_server")

    await health_checks.check_round(checked)
    async with listening(port):
        await health_checks.check_round(checked)

    assert await rows(checked, "SELECT xmin::text, * FROM obproxy_server") == before
    assert await status(checked, server) == "TAKINGOVER"


async def test_an_unreachable_port_is_checked_by_a_discovery(checked: Resources) -> None:
    (port,) = free_ports(1)
    (server,) = await insert(checked, [("127.0.0.1", port)])

    for _ in range(2):
        await health_checks.check_round(checked)
        assert await status(checked, server) == "RUNNING"
        assert await queued_discoveries(checked) == [server], "once"


async def test_a_discovery_overrides_an_earlier_health_check(
    checked: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    (server,) = await insert(checked, [("127.0.0.1", port)])
    await rows(
        checked, "INSERT INTO server_check (server_id, answered) SELECT id, true FROM obproxy_server RETURNING 1"
    )

    async def silence(*args: object) -> set[tuple[str, int]]:
        await rows(checked, "UPDATE server_check SET answered = false RETURNING 1")
        return set()

    monkeypatch.setattr(health_checks, "responding_addresses", silence)
    await health_checks.check_round(checked)
    assert await status(checked, server) == "RUNNING"


async def test_of_several_workers_one_makes_the_round(resources: Resources) -> None:
    settings = resources.settings.model_copy(update={"server_check_interval": 1.0})
    workers = [replace(resources, settings=settings) for _ in range(5)]

    made = await asyncio.gather(*(health_checks.check_round(worker) for worker in workers))
    assert sorted(made) == [False] * 4 + [True]

    await rows(resources, "UPDATE server_check_round SET started = started - interval '1 second' RETURNING 1")
    assert await health_checks.check_round(workers[0])


async def test_checks_and_discoveries_go_on_after_the_clock_was_set_back(resources: Resources) -> None:
    settings = resources.settings.model_copy(update={"server_check_timeout": SECONDS})
    default = replace(resources, settings=settings)
    servers = await insert(default, [("127.0.0.1", port) for port in free_ports(1)])
    await rows(default, "UPDATE server_check_round SET started = now() + interval '1 day' RETURNING 1")
    await rows(default, LOOKED_AT.format("-1 day"))

    assert await health_checks.check_round(default)
    assert await queued_discoveries(default) == servers
    assert not await health_checks.check_round(default)


async def test_discoveries_are_spread_over_their_interval(checked: Resources) -> None:
    settings = checked.settings.model_copy(update={"server_check_interval": 60.0, "server_look_interval": 600.0})
    spread = replace(checked, settings=settings)
    servers = await insert(checked, [("127.0.0.1", port) for port in free_ports(20)])
    seen: list[list[int]] = []
    await rows(checked, LOOKED_AT.format("1 hour"))
    for _ in range(11):
        await rows(checked, "UPDATE server_check_round SET started = 'epoch' RETURNING 1")
        assert await health_checks.check_round(spread)
        seen.append((await queued_discoveries(checked))[sum(map(len, seen)) :])

    assert [len(part) for part in seen] == [2] * 10 + [0]
    assert sorted(server for part in seen for server in part) == servers


async def test_discoveries_after_an_outage_are_spread(checked: Resources) -> None:
    (port,) = free_ports(1)
    servers = await insert(checked, [(f"127.1.2.{number}", port) for number in range(1, 51)])
    seen = []
    async with listening(port, host="0.0.0.0"):  # noqa: S104 - all addresses of loopback
        await health_checks.check_round(checked)
        await rows(checked, "UPDATE obproxy_server SET status = 'UNAVAILABLE' RETURNING 1")
        for _ in range(4):
            await health_checks.check_round(checked)
            seen.append(len(await queued_discoveries(checked)))

    assert seen == [20, 40, 50, 50]
    assert sorted(await queued_discoveries(checked)) == servers


async def test_no_discoveries_when_they_are_off(checked: Resources) -> None:
    await insert(checked, [("127.0.0.1", port) for port in free_ports(2)])
    await rows(checked, LOOKED_AT.format("1 year"))

    off = checked.settings.model_copy(update={"server_look_interval": 0.0})
    await health_checks.check_round(replace(checked, settings=off))
    assert await queued_discoveries(checked) == []
    await health_checks.check_round(checked)
    assert len(await queued_discoveries(checked)) == 1


async def test_a_round_of_a_thousand_servers_writes_only_changes(checked: Resources) -> None:
    (port,) = free_ports(1)
    addresses = [(f"127.1.{number // 250}.{number % 250 + 1}", port) for number in range(MANY)]
    await insert(checked, addresses)
    patient = replace(checked, settings=checked.settings.model_copy(update={"server_check_timeout": 3.0}))
    async with listening(port, host="0.0.0.0"):  # noqa: S104 - all addresses of loopback
        await health_checks.check_round(patient)
        before = await rows(checked, "SELECT id, xmin::text FROM obproxy_server ORDER BY id")
        await health_checks.check_round(patient)

    assert await rows(checked, "SELECT id, xmin::text FROM obproxy_server ORDER BY id") == before
    assert await rows(checked, "SELECT count(*) AS n FROM server_check WHERE answered") == [{"n": MANY}]

    await health_checks.check_round(checked)
    found = await rows(checked, "SELECT status, count(*) AS n FROM obproxy_server GROUP BY 1")
    assert [(row["status"], row["n"]) for row in found] == [("UNAVAILABLE", MANY)]


async def test_a_failed_discovery_records_no_error_after_a_run_of_its_server(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [HostRequest(host_id=1, sql_port=2883)]
    ((task, _),) = await submit.take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")
    await rows(resources, "UPDATE obproxy_server SET status = 'RUNNING' RETURNING id")
    (server,) = await rows(resources, "SELECT id FROM obproxy_server")

    async def late(*_: object) -> None:
        await rows(
            resources,
            "INSERT INTO run (ident, task_instance_id, executor, finish_time)"
            " VALUES (gen_random_uuid(), %(task)s, 'worker-1', clock_timestamp()) RETURNING 1",
            task=task.id,
        )
        raise TimeoutError

    async def failed(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(discovery, "_discover", late)
    await discovery.perform(resources, server["id"])
    assert await rows(resources, "SELECT 1 FROM obproxy_server WHERE learned ? 'discovery_error'") == []

    monkeypatch.setattr(discovery, "_discover", failed)
    await discovery.perform(resources, server["id"])
    assert await rows(resources, "SELECT 1 FROM obproxy_server WHERE learned ? 'discovery_error'") != []
