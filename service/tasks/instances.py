"""Reads task instances, their subtasks and their logs."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.model.tasks import BasicSubtask, Subtask, TaskFilter, TaskInstance, TaskStatus
from service.model.types import JSON, Order, Page
from service.store.database import Connection, Database, fetch, fetch_as, fetch_unprepared
from service.tasks.errors import UnknownSubtask, UnknownTask

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


async def page(database: Database, filter: TaskFilter, page: Page) -> tuple[list[BasicTask], int]:
    """Return one page of the task instances that match `filter`, and the number of all that match."""
    criteria: JSON = {
        "names": await names_with(database, "task_names", filter.name),
        "statuses": list(filter.statuses) if filter.statuses is not None else None,
        "type": filter.type,
        "host_id": filter.host_id,
        "host_names": await names_with(database, "task_host_names", filter.host_name),
        "clusters": await names_with(database, "task_cluster_names", filter.cluster),
        "creators": await names_with(database, "task_creators", filter.creator),
        "start_after": filter.start_after,
        "start_before": filter.start_before,
        "superseded": filter.superseded,
        "held": filter.held,
        "held_by": filter.held_by,
        "rolled_back": filter.rolled_back,
        "ids": list(filter.ids) if filter.ids is not None else None,
    }
    # Concurrently: counting a long history takes PostgreSQL as long as this process takes for the page.
    return await asyncio.gather(_page(database, criteria, filter, page), _count(database, criteria))


async def names_with(database: Database, query: str, text: str | None) -> list[str] | None:
    """Return the names of `query` that contain a text, in any case; None without a text."""
    if text is None:
        return None
    async with database.autocommit() as connection:
        return [row["name"] for row in await fetch(connection, query, text=text)]


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


@dataclass(frozen=True, kw_only=True)
class OpenCounts:
    """Numbers of task instances: with a run, before their run, and failed ones that are not superseded."""

    running: int
    waiting: int
    failed: int


async def count_open(database: Database) -> OpenCounts:
    """Return the numbers of open task instances."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "open_task_counts")
        (runs,) = await fetch(connection, "count_tasks_with_run")
        held = await fetch(connection, "held_task_counts")
    totals = {row["status"]: row["total"] for row in rows}
    running = min(runs["total"], totals.get(TaskStatus.RUNNING, 0))
    waiting = totals.get(TaskStatus.RUNNING, 0) - running + sum(row["total"] for row in held)
    return OpenCounts(running=running, waiting=waiting, failed=totals.get(TaskStatus.FAILED, 0))


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
