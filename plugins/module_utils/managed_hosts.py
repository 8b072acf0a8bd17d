"""Reads the hosts that the service manages, with groups and variables for an inventory."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from .service_client import NOT_THE_SERVICE, ServiceUnreachable

CLUSTERS, HOSTS = "/api/v2/obproxy/clusters", "/api/v2/compute/hosts"
PAGE_SIZE = 1000  # elements
NOT_TAKEN_OVER = "TAKINGOVER"  # or its takeover has failed
Json = dict[str, Any]


class Client(Protocol):
    """Reads from the service's API."""

    def send(self, path: str) -> Any:
        """Return the `data` of the response to a GET."""


@dataclass(frozen=True, kw_only=True)
class ManagedHost:
    """A host, with groups and variables of its OBProxy servers."""

    name: str
    variables: Mapping[str, Any]
    groups: list[str]


def managed_hosts(service: Client) -> list[ManagedHost]:
    """Return all managed hosts, sorted by name; raise RequestRejected and ServiceUnreachable."""
    try:
        known = {host["id"]: host for host in _elements(service, HOSTS)}
        servers: dict[int, list[Json]] = {}
        addresses: dict[int, str] = {}
        for cluster in _elements(service, CLUSTERS):
            for proxy in cluster["obproxies"]:
                if proxy["status"] != NOT_TAKEN_OVER:
                    servers.setdefault(proxy["hostId"], []).append(_server(proxy, cluster["name"]))
                    addresses[proxy["hostId"]] = proxy["ip"]
        # A host that was removed from the service's inventory is named by its address.
        missing = {number: {"name": addresses[number], "innerIpAddress": addresses[number]} for number in servers}
        hosts = [_host(number, (missing | known)[number], servers[number]) for number in servers]
    except (LookupError, TypeError, AttributeError):
        raise ServiceUnreachable(NOT_THE_SERVICE) from None
    return sorted(hosts, key=lambda host: host.name)


def _elements(service: Client, path: str) -> Iterator[Json]:
    for number in count(1):
        data = service.send(f"{path}?page={number}&size={PAGE_SIZE}")
        yield from data["contents"]
        if number >= data["page"]["totalPages"]:
            return


def _server(proxy: Json, cluster_name: str) -> Json:
    return {
        "cluster_id": proxy["clusterId"],
        "cluster_name": cluster_name,
        "sql_port": proxy["sqlPort"],
        "exporter_port": proxy.get("exporterPort"),
        "version": proxy.get("version"),
        "status": proxy["status"],
        "architecture": proxy.get("architecture"),
        "pending_restart": proxy.get("pendingRestart") or [],
        "last_active_time": proxy.get("lastActiveTime"),
    }


def _host(number: int, known: Json, servers: list[Json]) -> ManagedHost:
    servers = sorted(servers, key=lambda server: int(server["sql_port"]))
    variables = {"ansible_host": known["innerIpAddress"], "ansible_port": known.get("sshPort"), "ocp_host_id": number}
    groups = {"obproxy_managed"}
    for server in servers:
        groups.add(group_name("cluster", server["cluster_name"]))
        groups.add(group_name("status", server["status"]))
        groups |= {group_name("version", server["version"])} if server["version"] else set()
    return ManagedHost(
        name=known["name"],
        variables={name: value for name, value in variables.items() if value is not None}
        | {"obproxy_servers": servers},
        groups=sorted(groups),
    )


def group_name(kind: str, of: str) -> str:
    """Return a valid group name, such as "obproxy_version_4_3_1_0_1"."""
    return f"obproxy_{kind}_{re.sub(r'[^a-z0-9]', '_', of.lower())}"
