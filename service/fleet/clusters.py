"""Reads OBProxy clusters: variables from the inventory, OBProxy servers from the database."""

from collections.abc import Iterable, Mapping
from typing import Literal

from service.inventory.reader import Inventory
from service.inventory.records import Cluster
from service.model.errors import UnknownCluster
from service.model.fleet import ObproxyCluster, ObproxyServer
from service.model.types import BY_ID, Order, Page
from service.store.database import fetch, fetch_as
from service.tasks.resources import Resources

WORK_MODES: Mapping[str, Literal["CONFIG_URL", "RS_LIST"]] = {"config_url": "CONFIG_URL", "rs_list": "RS_LIST"}


async def page(resources: Resources, page: Page, order: Order = BY_ID) -> tuple[list[ObproxyCluster], int]:
    """Return one page of the OBProxy clusters, and the number of all.

    A cluster that was removed from the inventory is listed while it has servers.
    """
    inventory = await resources.inventory.current()
    async with resources.database.transaction() as connection:
        left = {row["cluster_id"]: row["cluster_name"] for row in await fetch(connection, "clusters_with_servers")}
        names = left | {cluster.id: cluster.name for cluster in inventory.clusters.values()}
        ordered = sorted(names, reverse=order.descending)
        if order.field == "name":
            ordered.sort(key=lambda cluster_id: names[cluster_id], reverse=order.descending)
        ids = ordered[(page.number - 1) * page.size : page.number * page.size]
        rows = await fetch_as(connection, ObproxyServer, "servers_of_clusters", cluster_ids=ids)
    servers: dict[int, list[ObproxyServer]] = {cluster_id: [] for cluster_id in ids}
    for row in rows:
        servers[row.cluster_id].append(row)
    return [_cluster(inventory, cluster_id, names, servers[cluster_id]) for cluster_id in ids], len(names)


async def get(resources: Resources, cluster_id: int) -> ObproxyCluster:
    """Return an OBProxy cluster with its servers; raise UnknownCluster."""
    inventory = await resources.inventory.current()
    async with resources.database.autocommit() as connection:
        servers = await fetch_as(connection, ObproxyServer, "servers_of_clusters", cluster_ids=[cluster_id])
    if cluster_id not in inventory.clusters and not servers:
        raise UnknownCluster(cluster_id=cluster_id)
    return _cluster(inventory, cluster_id, {server.cluster_id: server.cluster_name for server in servers}, servers)


def _cluster(
    inventory: Inventory, cluster_id: int, names: Mapping[int, str], servers: list[ObproxyServer]
) -> ObproxyCluster:
    desired = inventory.clusters.get(cluster_id)
    variables = desired.variables if desired else {}
    mode = WORK_MODES.get(str(variables.get("obproxy_start_mode")))
    address, port = variables.get("obproxy_cluster_address"), variables.get("obproxy_cluster_port")
    return ObproxyCluster(
        id=cluster_id,
        name=desired.name if desired else names[cluster_id],
        work_mode=mode,
        config_url=_config_url(desired) if desired and mode == "CONFIG_URL" else None,
        address=None if address is None else str(address),
        port=port if isinstance(port, int) else None,
        servers=servers,
        idc_names=_idc_names(inventory, servers),
    )


def _config_url(cluster: Cluster) -> str | None:
    url = cluster.variables.get("obproxy_config_server_url")
    return None if url is None else str(url)


def _idc_names(inventory: Inventory, servers: Iterable[ObproxyServer]) -> Mapping[int, str]:
    hosts = (inventory.hosts.get(server.host_id) for server in servers)
    return {host.id: host.idc_name for host in hosts if host and host.idc_name is not None}
