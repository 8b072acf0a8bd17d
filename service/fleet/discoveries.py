"""Discoveries of hosts: requests them, and reads what each host's last discovery found."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.access.users import User
from service.inventory.records import Host
from service.model.errors import InvalidRequest, SubError, reject_unknown_hosts
from service.model.fleet import ObproxyServer
from service.model.types import Order, Page
from service.store.database import Connection, execute, fetch, fetch_as
from service.store.database_errors import retry_contention
from service.store.queue import HOST_DISCOVERY_QUEUE
from service.tasks.resources import Resources

BODY = "obproxyDiscoverParam"  # name of the body in errors


class DiscoveryState(StrEnum):
    """State of a host's discovery."""

    NEVER = "NEVER"  # it was never requested
    PENDING = "PENDING"  # it is requested and has not ended
    DISCOVERED = "DISCOVERED"
    UNREACHABLE = "UNREACHABLE"  # the service cannot log in to the host
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True)
class FailedRule:
    """A rule that prevents a takeover."""

    rule: str
    found: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class FoundObproxy:
    """An OBProxy process of a host, managed or not. None = unknown.

    `login` is the result of the login as root@proxysys: the kind of the password that is valid, `denied`, `unreachable`
    or `untried`.
    """

    sql_port: int
    pid: int
    version: str | None
    package: str | None
    app_name: str | None
    home: str | None
    owner: str | None
    supervisor: str | None
    start_mode: str | None
    login: str | None
    managed_by: str | None  # the manager that the host's local fact names, and its cluster
    managed_cluster: str | None
    rules: Sequence[FailedRule]
    server: ObproxyServer | None  # it is managed by this service

    @property
    def needs_password(self) -> bool:
        """True if none of the known passwords of root@proxysys is valid."""
        return self.login == "denied"


@dataclass(frozen=True, kw_only=True)
class HostDiscovery:
    """A host of the inventory, with what its last discovery has found.

    `servers` are the managed OBProxy servers of the host, also those that the discovery has not found running.
    """

    host: Host
    state: DiscoveryState
    request_time: datetime | None = None
    requester: str | None = None
    finish_time: datetime | None = None  # of the last discovery that has ended: what follows is of this time
    message: str | None = None  # why the host could not be discovered
    rules: Sequence[FailedRule] = ()  # of the host
    obproxies: Sequence[FoundObproxy] = ()
    servers: Sequence[ObproxyServer] = ()


@retry_contention
async def request(resources: Resources, host_ids: Sequence[int] | None, *, requester: User) -> list[HostDiscovery]:
    """Request a discovery of hosts, or of all hosts of the inventory, and return their state.

    A discovery that is queued already counts for this request. Raise UnknownHost, InvalidRequest.
    """
    inventory = await resources.inventory.current()
    ids = sorted(inventory.hosts) if host_ids is None else list(host_ids)
    reject_unknown_hosts(ids, inventory.hosts, field="hostIds[{index}]", object=BODY)
    if len(ids) > (limit := resources.settings.hosts_limit):
        sentence = "A discovery has at most {limit} hosts, not {found}. Name or search for fewer hosts."
        raise InvalidRequest([SubError.saying(sentence, field="hostIds", object=BODY, limit=limit, found=len(ids))])
    async with resources.database.transaction() as connection:
        await execute(connection, "request_host_discoveries", host_ids=ids, requester=requester.name)
        await execute(connection, "notify_discovery_changes", host_ids=ids)
        queued = await fetch(connection, "hosts_with_queued_discovery", queue=HOST_DISCOVERY_QUEUE, host_ids=ids)
        waiting = {row["host_id"] for row in queued}
        await resources.queue.defer_host_discoveries(connection, [id for id in ids if id not in waiting])
    return await of_hosts(resources, [inventory.hosts[host_id] for host_id in ids])


async def page(
    resources: Resources, order: Order, page: Page, *, keyword: str = "", host_ids: Collection[int] | None = None
) -> tuple[list[HostDiscovery], int]:
    """Return one page of the hosts of the inventory with their discoveries, and the number of all that match.

    `keyword` is part of the name or the address.
    """
    found = await matching_hosts(resources, keyword, host_ids)
    found.sort(key=lambda host: host.name if order.field == "name" else host.id, reverse=order.descending)
    selected = found[(page.number - 1) * page.size : page.number * page.size]
    return await of_hosts(resources, selected), len(found)


async def matching_hosts(
    resources: Resources, keyword: str = "", host_ids: Collection[int] | None = None
) -> list[Host]:
    """Return the hosts of the inventory with `keyword` in their name or address, sorted by name."""
    inventory = await resources.inventory.current()
    hosts = [host for host in inventory.hosts.values() if host_ids is None or host.id in host_ids]
    fitting = [host for host in hosts if keyword.lower() in f"{host.name} {host.address}".lower()]
    return sorted(fitting, key=lambda host: host.name)


async def changed_since(resources: Resources, moment: datetime) -> list[int]:
    """Return the ids of the hosts whose discovery was requested or has ended since a moment of the database."""
    async with resources.database.autocommit() as connection:
        rows = await fetch(connection, "host_discoveries_since", moment=moment)
    return [row["host_id"] for row in rows]


async def of_hosts(resources: Resources, hosts: Sequence[Host]) -> list[HostDiscovery]:
    """Return the discoveries of hosts, in the given order."""
    ids = [host.id for host in hosts]
    async with resources.database.autocommit() as connection:
        rows = {row["host_id"]: row for row in await fetch(connection, "host_discoveries", host_ids=ids)}
        servers = await fetch_as(connection, ObproxyServer, "managed_servers_of_hosts", host_ids=ids)
    on: dict[int, list[ObproxyServer]] = {host_id: [] for host_id in ids}
    for server in servers:
        on[server.host_id].append(server)
    return [_discovery(host, rows.get(host.id), on[host.id]) for host in hosts]


async def versions(resources: Resources, hosts: Sequence[Host]) -> dict[int, object]:
    """Return a value for each host, which differs after each request and each result of a discovery."""
    found: dict[int, object] = dict.fromkeys(host.id for host in hosts)
    async with resources.database.autocommit() as connection:
        rows = await fetch(connection, "host_discovery_times", host_ids=list(found))
    return found | {row["host_id"]: (row["request_time"], row["start_time"]) for row in rows}


async def count_pending(resources: Resources, hosts: Sequence[Host]) -> int:
    """Return the number of hosts with a discovery that has not ended."""
    async with resources.database.autocommit() as connection:
        rows = await fetch(connection, "pending_host_discoveries", host_ids=[host.id for host in hosts])
    total: int = rows[0]["total"]
    return total


async def recover(resources: Resources, connection: Connection) -> list[int]:
    """Queue the requested discoveries that have lost their job, in the caller's transaction; return their hosts.

    A job is lost when it has failed, or when the database was restored without it.
    """
    rows = await fetch(connection, "host_discoveries_without_job", queue=HOST_DISCOVERY_QUEUE)
    hosts = [row["host_id"] for row in rows]
    await resources.queue.defer_host_discoveries(connection, hosts)
    return hosts


def _discovery(host: Host, row: Mapping[str, Any] | None, servers: Sequence[ObproxyServer]) -> HostDiscovery:
    if row is None:
        return HostDiscovery(host=host, state=DiscoveryState.NEVER, servers=servers)
    managed = {server.sql_port: server for server in servers}
    return HostDiscovery(
        host=host,
        state=DiscoveryState.PENDING if row["pending"] else DiscoveryState(row["outcome"]),
        request_time=row["request_time"],
        requester=row["requester"],
        finish_time=row["finish_time"],
        message=row["message"],
        rules=_rules(row["rules"]),
        obproxies=[_obproxy(found, managed.get(found["sql_port"])) for found in row["obproxies"] or ()],
        servers=servers,
    )


def _obproxy(found: Mapping[str, Any], server: ObproxyServer | None) -> FoundObproxy:
    return FoundObproxy(**{**found, "rules": _rules(found["rules"])}, server=server)


def _rules(rules: Sequence[Mapping[str, str]] | None) -> list[FailedRule]:
    return [FailedRule(**rule) for rule in rules or ()]
