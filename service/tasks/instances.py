"""Reads task instances, their subtasks and their logs."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from service.inventory.records import Cluster
from service.model.errors import InventoryUnreadable
from service.model.requests import Held
from service.model.tasks import BasicSubtask, Subtask, TaskFilter, TaskInstance, TaskStatus
from service.model.types import JSON, Order, Page
from service.store.database import Connection, Database, fetch, fetch_as, fetch_unprepared
from service.tasks.errors import UnknownSubtask, UnknownTask
from service.tasks.resources import Resources

TASK_QUERIES: Mapping[Order, str] = {
    Order(field="id"): "task_ids_ascending",
    Order(field="id", descending=True): "task_ids_descending",
    Order(field="name"): "task_ids_by_name_ascending",
    Order(field="name", descending=True): "task_ids_by_name_descending",
}
SEPARATOR = re.compile(r"############\{(\w+)\}\{([^}]+)\}############")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One execution of a subtask: the log rows after `after` and before `until` (None = to the end)."""

    operation: str
    time: datetime
    after: int
    until: int | None


TaskWithSubtasks = tuple[TaskInstance, list[Subtask]]
BasicTask = tuple[TaskInstance, list[BasicSubtask]]


async def get(database: Database, task_id: int) -> TaskWithSubtasks:
    """Return a task instance with its subtasks in DAG order; raise UnknownTask."""
    async with database.autocommit() as connection:
        found = await by_ids(connection, [task_id])
    if not found:
        raise UnknownTask(task_id=task_id)
    return found[0]


async def blocking_tasks(resources: Resources, task: TaskInstance) -> list[int]:
    """Return the ids of the task instances that a queued `task` waits for: of its host, and of its full cluster.

    A task instance whose batch has not started waits for those of its request that have started.
    """
    if task.status is not TaskStatus.RUNNING or task.held_by == Held.MAX_FAILURES:
        return []
    if task.held_by is not None:
        async with resources.database.autocommit() as connection:
            started = await fetch(connection, "running_tasks_of_request", request_id=task.request_id)
        return [row["id"] for row in started]
    cluster_id = task.context["stringMap"]["obproxy_cluster_id"]
    async with resources.database.autocommit() as connection:
        rows = await fetch(connection, "blocking_tasks", task_id=task.id, cluster_id=cluster_id)
    in_cluster = any(not row["same_host"] for row in rows)
    limited = in_cluster and not task.is_check and await _is_limited(resources, int(cluster_id))
    return [row["id"] for row in rows if row["same_host"] or limited]


async def _is_limited(resources: Resources, cluster_id: int) -> bool:
    """Return whether concurrent takeovers of a cluster are limited; False when the inventory cannot be read."""
    with suppress(InventoryUnreadable):
        cluster = (await resources.inventory.current()).clusters.get(cluster_id)
        async with resources.database.autocommit() as connection:
            return cluster is not None and await concurrency_limit(connection, resources, cluster) > 0
    return False


async def concurrency_limit(connection: Connection, resources: Resources, cluster: Cluster) -> int:
    """Return the maximal number of concurrent task instances of an OBProxy cluster; 0 = unlimited.

    It is 1 while the cluster or a request permits a restart, so that the other OBProxy servers keep serving clients.
    """
    if cluster.allows_restart:
        return 1
    (restart,) = await fetch(connection, "restart_requested_in_cluster", cluster_id=cluster.id)
    return 1 if restart["requested"] else resources.settings.cluster_concurrency


async def page(database: Database, filter: TaskFilter, page: Page) -> tuple[list[BasicTask], int]:
    """Return one page of the task instances that match `filter`, and the number of all that match."""
    criteria: JSON = {
        "names": None,
        "statuses": list(filter.statuses) if filter.statuses is not None else None,
        "type": filter.type,
        "host_id": filter.host_id,
        "superseded": filter.superseded,
        "held": filter.held,
    }
    if filter.name is not None:
        async with database.autocommit() as connection:
            criteria["names"] = [row["name"] for row in await fetch(connection, "task_names", text=filter.name)]
    # Concurrently: counting a long history takes PostgreSQL as long as this process takes for the page.
    return await asyncio.gather(_page(database, criteria, filter, page), _count(database, criteria))


async def _page(database: Database, criteria: JSON, filter: TaskFilter, page: Page) -> list[BasicTask]:
    query = TASK_QUERIES[filter.order]
    part = {"size": page.size, "offset": (page.number - 1) * page.size}
    async with database.autocommit() as connection:
        # The best index depends on the filter; a generic plan would scan the table.
        task_ids = [row["id"] for row in await fetch_unprepared(connection, query, **criteria, **part)]
        return await _with_subtasks(connection, BasicSubtask, "basic_subtasks_of_tasks", task_ids)


async def _count(database: Database, criteria: JSON) -> int:
    async with database.autocommit() as connection:
        rows = await fetch_unprepared(connection, "count_tasks", **criteria)
    total: int = rows[0]["total"]
    return total


async def count_open(database: Database) -> dict[TaskStatus, int]:
    """Return the numbers of RUNNING and FAILED task instances; superseded ones are not counted."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "open_task_counts")
    return {TaskStatus.RUNNING: 0, TaskStatus.FAILED: 0} | {row["status"]: row["total"] for row in rows}


async def log(database: Database, task_id: int, subtask_id: int, *, after: int = 0) -> tuple[str, int]:
    """Return a subtask's log after row `after` as one string, and the number of its last row.

    Raise UnknownTask or UnknownSubtask.
    """
    async with database.autocommit() as connection:
        if not await fetch(connection, "subtask_in_task", task_id=task_id, subtask_id=subtask_id):
            if not await fetch(connection, "task_by_id", task_id=task_id):
                raise UnknownTask(task_id=task_id)
            raise UnknownSubtask(task_id=task_id, subtask_id=subtask_id)
        rows = await fetch(connection, "log_rows_after", subtask_id=subtask_id, after=after)
    return "\n".join(row["content"] for row in rows), rows[-1]["id"] if rows else after


async def executions(database: Database, subtask_id: int) -> list[Execution]:
    """Return the executions in a subtask's log, newest first; rows before the first separator belong to the oldest."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "log_separators_of_subtask", subtask_id=subtask_id)
    found: list[Execution] = []
    until = None
    for row in reversed(rows):
        if parts := SEPARATOR.match(row["content"]):
            after = row["id"] - 1 if row is not rows[0] else 0
            found.append(Execution(operation=parts[1], time=datetime.fromisoformat(parts[2]), after=after, until=until))
            until = row["id"]
    return found


async def log_rows(
    database: Database, subtask_id: int, *, after: int, until: int | None, limit: int
) -> list[tuple[int, str]]:
    """Return at most `limit` log rows after row `after` and before row `until`, each with its number."""
    async with database.autocommit() as connection:
        values = {"subtask_id": subtask_id, "after": after, "until": until, "limit": limit}
        rows = await fetch(connection, "log_rows_between", **values)
    return [(row["id"], row["content"]) for row in rows]


async def last_log_message(database: Database, subtask_id: int) -> str:
    """Return the last log row of a subtask that is not a status: the error of a failed one. Empty without a log."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "last_log_message_of_subtask", subtask_id=subtask_id)
    return str(rows[0]["content"]) if rows else ""


async def by_ids(connection: Connection, task_ids: Sequence[int]) -> list[TaskWithSubtasks]:
    """Return task instances in the given order, each with its subtasks in DAG order; skip unknown ids."""
    return await _with_subtasks(connection, Subtask, "subtasks_of_tasks", task_ids)


async def _with_subtasks[Part: BasicSubtask](
    connection: Connection, record: type[Part], query: str, task_ids: Sequence[int]
) -> list[tuple[TaskInstance, list[Part]]]:
    tasks = {task.id: task for task in await fetch_as(connection, TaskInstance, "tasks_by_id", task_ids=list(task_ids))}
    subtasks: dict[int, list[Part]] = {task: [] for task in tasks}
    for subtask in await fetch_as(connection, record, query, task_ids=list(tasks)):
        subtasks[subtask.task_instance_id].append(subtask)
    return [(tasks[task], subtasks[task]) for task in task_ids if task in tasks]
