"""Reads hosts: those of the inventory, with their managed OBProxy servers."""

from collections.abc import Sequence

from service.inventory.records import Host
from service.model.errors import UnknownHost
from service.model.fleet import HostFilter, ManagedHost, ObproxyServer, ServiceType
from service.model.types import Page
from service.store.database import fetch, fetch_as
from service.tasks.resources import Resources

DEFAULT_SSH_PORT = 22


async def page(resources: Resources, filter: HostFilter, page: Page) -> tuple[list[ManagedHost], int]:
    """Return one page of the hosts that match `filter`, and the number of all that match."""
    inventory = await resources.inventory.current()
    ids = sorted(inventory.hosts, reverse=filter.order.descending)
    if filter.order.field == "name":
        ids.sort(key=lambda host_id: inventory.hosts[host_id].name, reverse=filter.order.descending)
    selection = slice((page.number - 1) * page.size, page.number * page.size)
    if filter == HostFilter(order=filter.order):
        hosts = [inventory.hosts[host_id] for host_id in ids[selection]]
        return await _managed(resources, hosts), len(ids)
    every = await _managed(resources, [inventory.hosts[host_id] for host_id in ids])
    matching = [host for host in every if _matches(host, filter)]
    return matching[selection], len(matching)


async def get(resources: Resources, host_id: int) -> ManagedHost:
    """Return a host; raise UnknownHost."""
    inventory = await resources.inventory.current()
    if host_id not in inventory.hosts:
        raise UnknownHost(host_id=host_id)
    (found,) = await _managed(resources, [inventory.hosts[host_id]])
    return found


async def servers(resources: Resources, host_id: int) -> list[ObproxyServer]:
    """Return the OBProxy servers of a host, those in takeover too."""
    async with resources.database.autocommit() as connection:
        return await fetch_as(connection, ObproxyServer, "servers_of_hosts", host_ids=[host_id])


async def _managed(resources: Resources, hosts: Sequence[Host]) -> list[ManagedHost]:
    host_ids = [host.id for host in hosts]
    async with resources.database.autocommit() as connection:
        rows = await fetch_as(connection, ObproxyServer, "managed_servers_of_hosts", host_ids=host_ids)
        reached = {row["id"] for row in await fetch(connection, "reached_hosts", host_ids=host_ids)}
    servers: dict[int, list[ObproxyServer]] = {}
    for row in rows:
        servers.setdefault(row.host_id, []).append(row)
    return [
        ManagedHost(
            id=host.id,
            name=host.name,
            address=host.address,
            ssh_port=_port(DEFAULT_SSH_PORT if host.ssh_port is None else host.ssh_port),
            idc_name=host.idc_name,
            reached=host.id in reached,
            servers=servers.get(host.id, []),
        )
        for host in hosts
    ]


def _port(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() else None


def _matches(host: ManagedHost, filter: HostFilter) -> bool:
    services = {ServiceType.OB_PROXY} if host.servers else set()
    texts = [host.name, host.address, *(server.cluster_name for server in host.servers)]
    return (
        (filter.statuses is None or host.status in filter.statuses)
        and (filter.keyword is None or any(filter.keyword.lower() in text.lower() for text in texts))
        and (not filter.included or not services.isdisjoint(filter.included))
        and services.isdisjoint(filter.excluded)
    )
