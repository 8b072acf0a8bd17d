"""Determines what task instances wait for: a worker, or other task instances of their host, cluster or request."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from service.inventory.records import Cluster
from service.model.errors import InventoryUnreadable
from service.model.states import TaskState, state_of
from service.model.tasks import Held, TaskInstance
from service.store.database import Connection, fetch, fetch_as
from service.tasks.resources import Resources


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """A task instance that must end before another one starts."""

    id: int
    host_name: str


FullClusters = Mapping[int, Sequence[Blocker]]
"""The OBProxy clusters at their limit of concurrent runs, each with the task instances that run."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of a task instance, and the task instances that must end before it starts."""

    state: TaskState
    waits_for: Sequence[Blocker] = ()


async def progress(resources: Resources, task: TaskInstance) -> Progress:
    """Return the progress of one task instance.

    A task instance whose batch has not started waits for those of its request that have started.
    """
    if task.held_by == Held.ROLLOUT:
        async with resources.database.autocommit() as connection:
            started = await fetch_as(connection, Blocker, "running_tasks_of_request", request_id=task.request_id)
        return Progress(state=state_of(task), waits_for=started)
    return (await progress_of_tasks(resources, [task]))[task.id]


async def progress_of_tasks(resources: Resources, tasks: Collection[TaskInstance]) -> dict[int, Progress]:
    """Return the progress of task instances by their ids; held ones are listed without those that they wait for."""
    found = {task.id: Progress(state=state_of(task)) for task in tasks}
    queued = [task for task in tasks if found[task.id].state is TaskState.QUEUED]
    if not queued:
        return found
    ids = [task.id for task in queued]
    async with resources.database.autocommit() as connection:
        on_host: dict[int, Blocker] = {
            row["blocked_id"]: Blocker(id=row["id"], host_name=row["host_name"])
            for row in await fetch(connection, "blocking_tasks", task_ids=ids)
        }
    full = await full_clusters(resources)
    for task in queued:
        in_cluster = () if task.is_check else full.get(int(task.context["stringMap"]["obproxy_cluster_id"]), ())
        blockers = {*in_cluster, *([on_host[task.id]] if task.id in on_host else ())}
        in_order = sorted(blockers, key=lambda blocker: blocker.id)
        found[task.id] = Progress(state=state_of(task, blocked=bool(blockers)), waits_for=in_order)
    return found


async def full_clusters(resources: Resources) -> FullClusters:
    """Return the OBProxy clusters at their limit; none when the inventory cannot be read."""
    running: dict[int, list[Blocker]] = {}
    async with resources.database.autocommit() as connection:
        for row in await fetch(connection, "tasks_with_run"):
            running.setdefault(row["cluster_id"], []).append(Blocker(id=row["id"], host_name=row["host_name"]))
    full = {}
    with suppress(InventoryUnreadable):
        clusters = (await resources.inventory.current()).clusters if running else {}
        async with resources.database.autocommit() as connection:
            for cluster_id in running.keys() & clusters.keys():
                limit = await concurrency_limit(connection, resources, clusters[cluster_id])
                if 0 < limit <= len(running[cluster_id]):
                    full[cluster_id] = running[cluster_id]
    return full


async def concurrency_limit(connection: Connection, resources: Resources, cluster: Cluster) -> int:
    """Return the maximal number of concurrent task instances of an OBProxy cluster; 0 = unlimited.

    It is 1 while the cluster or a request permits a restart, so that the other OBProxy servers keep serving clients.
    """
    if cluster.allows_restart:
        return 1
    (restart,) = await fetch(connection, "restart_requested_in_cluster", cluster_id=cluster.id)
    return 1 if restart["requested"] else resources.settings.cluster_concurrency
