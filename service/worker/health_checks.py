"""Keeping the status of OBProxy servers true: every managed one is asked now and then whether it still answers.

A connection to the SQL port that waits for the greeting costs neither side anything, so it is the rule. What only the
host knows (version, parameters that wait for a restart, an OBProxy behind a firewall) is found by a closer look, at a
slower pace and when an OBProxy is back. Servers that are being taken over are nobody's business here.
"""

import asyncio
import logging
import math
from collections.abc import Collection
from datetime import datetime

from service.model.types import JSON
from service.observe.metrics import CHECK_SECONDS, CHECKED
from service.store.database import Connection, execute, fetch
from service.store.database_errors import retry_contention
from service.tasks.resources import Resources

log = logging.getLogger(__name__)

GRAIN = 300.0  # seconds; lastActiveTime of a server that answers is as exact as this
MOST_OWED = 20  # looks at servers that are back in each round
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 15.0  # seconds between two looks whether a round is due


def wanted(resources: Resources) -> bool:
    """Whether there are checks at all."""
    return resources.settings.server_check_interval > 0


async def forever(resources: Resources) -> None:
    """Make every round that no other worker makes, until cancelled."""
    interval = resources.settings.server_check_interval
    while True:
        try:
            await make_round(resources)
        except Exception as error:  # a process loop: the database may be gone for a while
            log.warning("OBProxy servers cannot be checked now: %s", error, extra={"action": "check_failed"})
        await asyncio.sleep(min(max(interval / 4, SHORTEST_PAUSE), LONGEST_PAUSE))


async def make_round(resources: Resources) -> bool:
    """Ask every managed OBProxy server, if it is time and no other worker does; whether it was."""
    settings = resources.settings
    async with resources.database.transaction() as connection:
        claimed = await fetch(connection, "claim_health_check_round", interval=settings.server_check_interval)
        if not claimed:
            return False
        servers = await fetch(connection, "servers_to_health_check")
    with CHECK_SECONDS.time():
        found = await answering({_address(server) for server in servers}, settings.server_check_timeout)
    answered = [server for server in servers if _address(server) in found]
    for answer, number in (("yes", len(answered)), ("no", len(servers) - len(answered))):
        CHECKED.labels(answer).set(number)
    silent = [server for server in servers if _address(server) not in found]
    await _write_silent(resources, silent, claimed[0]["before"])
    await _write_answered(resources, answered, silent, len(servers))
    return True


@retry_contention
async def _write_silent(resources: Resources, silent: list[JSON], before: datetime) -> None:
    """Record the servers that used to answer and are silent.

    In a transaction of its own: two sets of servers locked one after the other are not in the order of all locks.
    """
    used_to_answer = [server["id"] for server in silent if server["answered"]]
    async with resources.database.transaction() as connection:
        rows = await fetch(connection, "mark_servers_unavailable", server_ids=used_to_answer, before=before)
    _report("UNAVAILABLE", [row["id"] for row in rows])


@retry_contention
async def _write_answered(resources: Resources, answered: list[JSON], silent: list[JSON], servers: int) -> None:
    """Record the servers that answer, and queue the looks that are due."""
    async with resources.database.transaction() as connection:
        back = await _write(connection, answered, silent)
        await resources.queue.defer_looks(connection, await _due(resources, connection, servers))
    _report("RUNNING", back)


async def _write(connection: Connection, answered: list[JSON], silent: list[JSON]) -> list[int]:
    """Record the servers that answer, and return those that did not before: they may be of another version now.

    Silence of one that has never answered says nothing, since it may be behind a firewall: a look will tell.
    """
    ids = [server["id"] for server in answered]
    back = [row["id"] for row in await fetch(connection, "mark_servers_answering", server_ids=ids, min_age=GRAIN)]
    if back:
        await execute(connection, "request_discovery", server_ids=back)
    if new := [server["id"] for server in answered if not server["answered"]]:
        await execute(connection, "record_servers_answered", server_ids=new)
    if unknown := [server["id"] for server in silent if not server["answered"]]:
        await execute(connection, "request_first_discovery", server_ids=unknown)
    return back


def _report(status: str, changed: list[int]) -> None:
    if changed:
        log.warning(
            "OBProxy servers are %s: %s",
            *(status, ", ".join(map(str, changed))),
            extra={"action": "server_status", "status": status, "server_ids": changed},
        )


async def _due(resources: Resources, connection: Connection, servers: int) -> list[int]:
    """Servers that are due for a look; so few in each round that looks are spread over time.

    When a network comes back, all of them are back at once, and no worker shall be busy with nothing else.
    """
    interval = resources.settings.server_look_interval
    if not interval:
        return []
    most = math.ceil(servers * resources.settings.server_check_interval / interval)
    rows = await fetch(
        connection, "claim_servers_for_discovery", interval=interval, limit=most, limit_when_requested=MOST_OWED
    )
    return [row["server_id"] for row in rows]


def _address(server: JSON) -> tuple[str, int]:
    return server["ip"], server["sql_port"]


HEAD = 5  # bytes: length (3) and number (1) of the packet, then what it is
GREETING, REFUSAL = 10, 255  # of protocol version 10; an error such as "too many connections" is an answer, too
AT_A_TIME = 200  # connections that are being tried

Address = tuple[str, int]


async def answering(addresses: Collection[Address], seconds: float) -> set[Address]:
    """Those of `addresses` (host, SQL port) that greet within `seconds`; each of the others is asked once again."""
    turn = asyncio.Semaphore(AT_A_TIME)

    async def ask(address: Address) -> Address | None:
        async with turn:
            return address if await greets(address, seconds) else None

    found: set[Address] = set()
    for _ in range(2):  # a packet may be lost
        answers = await asyncio.gather(*(ask(address) for address in addresses if address not in found))
        found |= {address for address in answers if address is not None}
    return found


async def greets(address: Address, seconds: float) -> bool:
    """Whether what listens there greets as an OBProxy does; the connection is closed without a word."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(*address)
            try:
                head = await reader.readexactly(HEAD)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    return head[-1] in (GREETING, REFUSAL)
