"""Hosts available for takeover, and the latest task instance of hosts and OBProxy servers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.inventory.records import Host
from service.model.fleet import ObproxyServer
from service.model.states import TaskState, task_state
from service.model.tasks import Operation, TaskStatus
from service.store.database import Database, fetch, fetch_as
from service.tasks.resources import Resources


@dataclass(frozen=True, kw_only=True)
class LatestTask:
    """The latest task instance of a host or OBProxy server."""

    id: int
    subject_id: int  # of the host or OBProxy server
    status: TaskStatus
    operation: Operation
    start_time: datetime
    superseded_by: int | None
    held_by: str | None
    has_run: bool

    @property
    def state(self) -> TaskState:
        """Its state for people; one that waits for other hosts is QUEUED."""
        superseded = self.superseded_by is not None
        return task_state(
            self.status, self.operation, held_by=self.held_by, superseded=superseded, has_run=self.has_run
        )


@dataclass(frozen=True, kw_only=True)
class AvailableHost:
    """A host of the inventory; `servers` are the managed OBProxy servers on it and those in takeover.

    While a task instance of it is running, it is `busy`: no other can start.
    """

    host: Host
    servers: Sequence[ObproxyServer]
    last: LatestTask | None
    busy: bool

    @property
    def sql_port(self) -> int:
        """SQL port of its OBProxy: of the first server, else of the inventory."""
        return self.servers[0].sql_port if self.servers else self.host.sql_port


async def find(resources: Resources, host_ids: Collection[int] | None = None) -> list[AvailableHost]:
    """Return the hosts of the inventory, or those of them in `host_ids`, sorted by name."""
    hosts = (await resources.inventory.current()).hosts
    ids = list(hosts) if host_ids is None else [host_id for host_id in host_ids if host_id in hosts]
    async with resources.database.transaction() as connection:
        servers = await fetch_as(connection, ObproxyServer, "servers_of_hosts", host_ids=ids)
        latest = await fetch_as(connection, LatestTask, "latest_tasks_of_hosts", host_ids=ids)
        busy = {row["host_id"] for row in await fetch(connection, "running_tasks", host_ids=ids)}
    latest_tasks = {task.subject_id: task for task in latest}
    on: dict[int, list[ObproxyServer]] = {host_id: [] for host_id in ids}
    for server in servers:
        on[server.host_id].append(server)
    in_order = sorted((hosts[host_id] for host_id in ids), key=lambda host: host.name)
    return [
        AvailableHost(host=host, servers=on[host.id], last=latest_tasks.get(host.id), busy=host.id in busy)
        for host in in_order
    ]


async def changed_since(resources: Resources, moment: datetime) -> list[int]:
    """Return the ids of the hosts whose task instance has changed since a moment of the database."""
    async with resources.database.autocommit() as connection:
        return [row["host_id"] for row in await fetch(connection, "hosts_with_task_change_since", moment=moment)]


async def latest_tasks_of_servers(database: Database, servers: Sequence[ObproxyServer]) -> dict[int, LatestTask]:
    """Return the latest task instance of each OBProxy server, by the id of the server."""
    async with database.autocommit() as connection:
        ids = [server.id for server in servers]
        return {
            row.subject_id: row
            for row in await fetch_as(connection, LatestTask, "latest_tasks_of_servers", server_ids=ids)
        }
