"""Names in arguments: hosts, OBProxy clusters, OBProxy servers and task instances by name or id.

A number is always an id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.cli.client import Client
from service.cli.errors import InvalidUsage, RequestRejected
from service.cli.transport import Document


@dataclass(frozen=True, kw_only=True)
class Target:
    """A host, and a SQL port if one was named."""

    host: str
    port: int | None


def target(text: str) -> Target:
    """Return the host and the SQL port of `HOST` or `HOST:SQL_PORT`. Raise InvalidUsage."""
    host, colon, port = text.partition(":")
    if not host or (colon and not _is_number(port)):
        raise InvalidUsage(f"Each host must be HOST or HOST:SQL_PORT, found: {text}")
    return Target(host=host, port=int(port) if port else None)


def host_ids(client: Client, names: Sequence[str]) -> list[int]:
    """Return the ids of hosts. Raise RequestRejected for an unknown or ambiguous name."""
    if all(_is_number(name) for name in names):
        return [int(name) for name in names]
    known = client.hosts()["contents"]
    return [int(name) if _is_number(name) else _only("host", name, known)["id"] for name in names]


def host_id(client: Client, name: str) -> int:
    """Return the id of a host."""
    return host_ids(client, [name])[0]


def cluster_id(client: Client, name: str) -> int:
    """Return the id of an OBProxy cluster."""
    if _is_number(name):
        return int(name)
    return int(_only("OBProxy cluster", name, client.clusters()["contents"])["id"])


def server_ids(client: Client, cluster: int, names: Sequence[str], *, with_released: bool = False) -> list[int]:
    """Return the ids of OBProxy servers of a cluster, each named by its id, `HOST` or `HOST:SQL_PORT`.

    With `with_released`, a name without a server stands for the released one of the host's newest task instance.
    """
    if all(_is_number(name) for name in names):
        return [int(name) for name in names]
    servers = client.cluster(cluster)["obproxies"]
    hosts = {host["id"]: host["name"] for host in client.hosts()["contents"]}

    def server_id(name: str) -> int:
        found = _server(servers, hosts, name)
        if found is None and with_released:
            found = _released_server(client, servers, hosts, name)
        if found is None:
            raise RequestRejected(f"The OBProxy cluster has no server {name}.")
        return found

    return [int(name) if _is_number(name) else server_id(name) for name in names]


def task_ids(client: Client, names: Iterable[str]) -> list[int]:
    """Return the ids of task instances, each named by its id or by its host: then the newest one of the host."""
    return [task_id(client, name) for name in names]


def task_id(client: Client, name: str) -> int:
    """Return the id of a task instance, named by its id or by its host: then the newest one of the host."""
    if _is_number(name):
        return int(name)
    newest = client.tasks(hostId=host_id(client, name), size=1)
    if not newest:
        raise RequestRejected(f"Host {name} has no task instance.")
    return int(newest[0]["id"])


def subtask(document: Document, name: str) -> Document:
    """Return a subtask of a task instance, named by its id or its name in any case."""
    for found in document["subtasks"]:
        if name in (str(found["id"]),) or name.casefold() == found["name"].casefold():
            return dict(found)
    raise RequestRejected(f"Task instance {document['id']} has no subtask {name}. `show {document['id']}` lists them.")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _only(kind: str, name: str, known: Iterable[Document]) -> Document:
    found = [element for element in known if element["name"] == name]
    if not found:
        raise RequestRejected(f"No {kind} has the name {name}.")
    if len(found) > 1:
        ids = ", ".join(str(element["id"]) for element in found)
        raise RequestRejected(f"The name {name} is ambiguous: it names the {kind}s {ids}. Use an id.")
    return found[0]


def _server(servers: Sequence[Document], hosts: Mapping[int, str], name: str) -> int | None:
    """Return the id of the server with a name, None if there is none; raise RequestRejected for several."""
    asked = target(name)
    found = [
        server
        for server in servers
        if hosts.get(server["hostId"]) == asked.host and asked.port in (None, server["sqlPort"])
    ]
    if len(found) > 1:
        ports = ", ".join(f"{asked.host}:{server['sqlPort']}" for server in found)
        raise RequestRejected(f"The name {name} is ambiguous: it names the servers {ports}.")
    return int(found[0]["id"]) if found else None


def _released_server(client: Client, servers: Sequence[Document], hosts: Mapping[int, str], name: str) -> int | None:
    """Return the id of the server of the newest task instance of a host; None if there is none, or it is managed.

    A managed one has another SQL port than the name: it is not the one that is meant.
    """
    managed = {server["id"] for server in servers}
    for host_id in (host_id for host_id, host in hosts.items() if host == target(name).host):
        for newest in client.tasks(hostId=host_id, size=1):
            found = client.task(newest["id"]).get("obproxyServerId")
            return None if found in managed else found
    return None
