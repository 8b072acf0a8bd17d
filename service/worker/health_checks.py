"""Checks the health of all managed OBProxy servers and updates their status.

A health check is a SQL handshake probe: it connects to the SQL port and reads the first packet, which is cheap for both
sides. A discovery reads what only the host knows (version, pending restarts, an OBProxy behind a firewall). It runs at
a longer interval, and when an OBProxy answers again. Servers with a running takeover are left out.
"""

import asyncio
import logging
import math
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address

from service.model.types import JSON
from service.observe.metrics import HEALTH_CHECK_RESULTS, HEALTH_CHECK_SECONDS
from service.store.database import Connection, execute, fetch
from service.store.database_errors import retry_contention
from service.tasks.resources import Resources

log = logging.getLogger(__name__)

LAST_ACTIVE_RESOLUTION = 300.0  # seconds; a more recent lastActiveTime is not updated
MAX_PRIORITY_DISCOVERIES = 20  # per round, of servers that answer again
MIN_POLL_INTERVAL, MAX_POLL_INTERVAL = 0.2, 15.0  # seconds

HEADER_SIZE = 5  # bytes: packet length (3), sequence number (1), packet type (1)
HANDSHAKE_V10, ERROR_PACKET = 10, 255  # packet types; an error such as "too many connections" is an answer too
MAX_CONNECTIONS = 200  # concurrent probes
MAX_LOOKUPS = 16  # concurrent lookups of host names
_lookups = ThreadPoolExecutor(MAX_LOOKUPS, "lookup")
"""Threads of its own: while no name server responds, lookups must not occupy those of the rest of the service."""

Address = tuple[str, int]  # host, SQL port


def are_enabled(resources: Resources) -> bool:
    """Return whether the settings enable health checks."""
    return resources.settings.server_check_interval > 0


async def check_forever(resources: Resources) -> None:
    """Check the servers in every round that no other worker has claimed, until cancelled."""
    interval = resources.settings.server_check_interval
    while True:
        try:
            await check_round(resources)
        except Exception as error:  # the loop must survive an unavailable database
            log.warning("OBProxy servers cannot be checked now: %s", error, extra={"action": "check_failed"})
        await asyncio.sleep(min(max(interval / 4, MIN_POLL_INTERVAL), MAX_POLL_INTERVAL))


async def check_round(resources: Resources) -> bool:
    """Check all managed OBProxy servers if a round is due and this worker claims it; return whether it did."""
    settings = resources.settings
    async with resources.database.transaction() as connection:
        claimed = await fetch(connection, "claim_health_check_round", interval=settings.server_check_interval)
        if not claimed:
            return False
        servers = await fetch(connection, "servers_to_health_check")
    with HEALTH_CHECK_SECONDS.time():
        responding = await responding_addresses({_address(server) for server in servers}, settings.server_check_timeout)
    answered = [server for server in servers if _address(server) in responding]
    for answer, number in (("yes", len(answered)), ("no", len(servers) - len(answered))):
        HEALTH_CHECK_RESULTS.labels(answer).set(number)
    silent = [server for server in servers if _address(server) not in responding]
    await _record_silent(resources, silent, claimed[0]["before"])
    await _record_answered(resources, answered, silent, len(servers))
    return True


@retry_contention
async def _record_silent(resources: Resources, silent: list[JSON], before: datetime) -> None:
    """Record the servers that answered before and are silent now.

    In a transaction of its own: locking two sets of rows one after the other breaks the lock order and could deadlock.
    """
    used_to_answer = [server["id"] for server in silent if server["answered"]]
    async with resources.database.transaction() as connection:
        rows = await fetch(connection, "mark_servers_unavailable", server_ids=used_to_answer, before=before)
    _report("UNAVAILABLE", [row["id"] for row in rows])


@retry_contention
async def _record_answered(resources: Resources, answered: list[JSON], silent: list[JSON], servers: int) -> None:
    """Record the servers that answer, and queue the discoveries that are due."""
    async with resources.database.transaction() as connection:
        recovered = await _update_status(connection, answered, silent)
        await resources.queue.defer_discoveries(connection, await _due_for_discovery(resources, connection, servers))
    _report("RUNNING", recovered)


async def _update_status(connection: Connection, answered: list[JSON], silent: list[JSON]) -> list[int]:
    """Set servers that answer to RUNNING; return those that were not, and give them priority for a discovery.

    They may have another version now. A server that never answered may be behind a firewall: only a discovery can
    determine its state.
    """
    ids = [server["id"] for server in answered]
    rows = await fetch(connection, "mark_servers_answering", server_ids=ids, min_age=LAST_ACTIVE_RESOLUTION)
    recovered = [row["id"] for row in rows]
    if recovered:
        await execute(connection, "request_discovery", server_ids=recovered)
    if new := [server["id"] for server in answered if not server["answered"]]:
        await execute(connection, "record_servers_answered", server_ids=new)
    if unknown := [server["id"] for server in silent if not server["answered"]]:
        await execute(connection, "request_first_discovery", server_ids=unknown)
    return recovered


def _report(status: str, changed: list[int]) -> None:
    if changed:
        log.warning(
            "OBProxy servers are %s: %s",
            *(status, ", ".join(map(str, changed))),
            extra={"action": "server_status", "status": status, "server_ids": changed},
        )


async def _due_for_discovery(resources: Resources, connection: Connection, servers: int) -> list[int]:
    """Return the ids of servers that are due for a discovery, limited per round to spread the load.

    After a network failure all servers answer again at once, and takeovers must not wait for their discoveries.
    """
    interval = resources.settings.server_look_interval
    if not interval:
        return []
    limit = math.ceil(servers * resources.settings.server_check_interval / interval)
    rows = await fetch(
        connection,
        "claim_servers_for_discovery",
        interval=interval,
        limit=limit,
        limit_when_requested=MAX_PRIORITY_DISCOVERIES,
    )
    return [row["server_id"] for row in rows]


def _address(server: JSON) -> Address:
    return server["ip"], server["sql_port"]


async def responding_addresses(addresses: Collection[Address], timeout: float) -> set[Address]:
    """Return the addresses that answer a handshake probe within `timeout` seconds; each is probed at most twice."""
    slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def probe(address: Address) -> Address | None:
        async with slots:
            return address if await probe_handshake(address, timeout) else None

    responding: set[Address] = set()
    for _ in range(2):  # a packet may be lost
        results = await asyncio.gather(*(probe(address) for address in addresses if address not in responding))
        responding |= {address for address in results if address is not None}
    return responding


async def probe_handshake(address: Address, timeout: float) -> bool:
    """Return whether the address sends the first packet of the MySQL protocol; the connection is then aborted."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _open_connection(*address)
            try:
                header = await reader.readexactly(HEADER_SIZE)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    return header[-1] in (HANDSHAKE_V10, ERROR_PACKET)


async def _open_connection(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to the first IP address of a host that accepts one; raise OSError."""
    try:
        ip_address(host)
    except ValueError:
        *others, host = await asyncio.get_running_loop().run_in_executor(_lookups, _ip_addresses, host)
        for other in others:
            with suppress(OSError):
                return await asyncio.open_connection(other, port)
    return await asyncio.open_connection(host, port)


def _ip_addresses(name: str) -> list[str]:
    """Return the IP addresses of a host name, at least one; raise OSError."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of it has more than 63 characters
        raise OSError(f"{name} is no host name") from error
    return [str(address[0]) for *_, address in found]
