"""Reads requests: their policy, the numbers of their hosts by state, and the hosts."""

from collections import Counter
from collections.abc import Collection, Sequence

from service.model.changes import RecordedChange, recorded
from service.model.requests import Finding, Request, RequestFilter, RequestHost
from service.model.rollout import Rollout
from service.model.states import TaskState, task_state
from service.model.types import JSON, Page
from service.store.database import Connection, Database, fetch, fetch_unprepared
from service.tasks.errors import UnknownRequest
from service.tasks.instances import names_with


async def get(database: Database, request_id: int, full: Collection[int] = ()) -> Request:
    """Return a request; raise UnknownRequest. Queued hosts of the OBProxy clusters in `full` wait for other hosts."""
    async with database.autocommit() as connection:
        found = await _by_ids(connection, [request_id], full)
    if not found:
        raise UnknownRequest(request_id=request_id)
    return found[0]


async def page(
    database: Database, filter: RequestFilter, page: Page, full: Collection[int] = ()
) -> tuple[list[Request], int]:
    """Return one page of the requests that match `filter`, and the number of all that match; for `full`, see `get`."""
    criteria: JSON = {
        "workflow": filter.workflow,
        "statuses": list(filter.statuses) if filter.statuses is not None else None,
        "host_id": filter.host_id,
        "host_names": await names_with(database, "task_host_names", filter.host_name),
        "clusters": await names_with(database, "request_cluster_names", filter.cluster),
        "creators": await names_with(database, "request_creators", filter.creator),
        "start_after": filter.start_after,
        "start_before": filter.start_before,
    }
    query = "request_ids_descending" if filter.order.descending else "request_ids_ascending"
    part = {"size": page.size, "offset": (page.number - 1) * page.size}
    async with database.autocommit() as connection:
        # The best index depends on the filter, as for task instances.
        rows = await fetch_unprepared(connection, query, **criteria, **part)
        (count,) = await fetch_unprepared(connection, "count_requests", **criteria)
        return await _by_ids(connection, [row["id"] for row in rows], full), count["total"]


async def hosts(
    database: Database, request_id: int, task_ids: Collection[int] | None = None, full: Collection[int] = ()
) -> list[RequestHost]:
    """Return the hosts of a request, in its order; with `task_ids`, only those of these task instances.

    For `full`, see `get`.
    """
    only = None if task_ids is None else list(task_ids)
    async with database.autocommit() as connection:
        rows = await fetch(connection, "hosts_of_request", request_id=request_id, task_ids=only)
        changes = await fetch(connection, "changes_of_request", request_id=request_id, task_ids=only)
        blocked = await _blocked(connection, request_id)
    by_task: dict[int, list[RecordedChange]] = {}
    for row in changes:
        by_task.setdefault(row["task_instance_id"], []).extend(recorded(row["changes"]))
    return [_host(row, _state(row, full, row["task_id"] in blocked), by_task.get(row["task_id"], [])) for row in rows]


async def versions(database: Database, request_id: int, full: Collection[int]) -> dict[int, tuple[int, TaskState]]:
    """Return the number of the last change of each task instance of a request, and its state; for `full`, see `get`."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "versions_of_request", request_id=request_id)
        blocked = await _blocked(connection, request_id)
    return {row["id"]: (row["number"], _state(row, full, row["id"] in blocked)) for row in rows}


async def _blocked(connection: Connection, request_id: int) -> set[int]:
    rows = await fetch(connection, "blocked_tasks_of_requests", request_ids=[request_id])
    return {row["id"] for row in rows}


async def _by_ids(connection: Connection, request_ids: Sequence[int], full: Collection[int]) -> list[Request]:
    """Return requests in the given order; skip unknown ids."""
    rows = {row["id"]: row for row in await fetch(connection, "requests_by_id", request_ids=list(request_ids))}
    groups: dict[int, list[JSON]] = {request_id: [] for request_id in rows}
    for group in await fetch(connection, "host_counts_of_requests", request_ids=list(rows)):
        groups[group["request_id"]].append(group)
    found = await fetch(connection, "blocked_tasks_of_requests", request_ids=list(rows))
    blocked = Counter(row["request_id"] for row in found)
    return [_request(rows[one], groups[one], full, blocked[one]) for one in request_ids if one in rows]


def _request(row: JSON, groups: Sequence[JSON], full: Collection[int], blocked: int) -> Request:
    """Return a request; `blocked` of its hosts wait for other task instances of the same hosts."""
    counts = Counter(dict.fromkeys(TaskState, 0))
    for group in groups:
        counts[_state(group, full)] += group["total"]
    waiting = min(blocked, counts[TaskState.QUEUED])  # none is queued in a full cluster
    counts[TaskState.QUEUED] -= waiting
    counts[TaskState.WAITING_FOR_HOST] += waiting
    return Request(
        id=row["id"],
        workflow=row["workflow"],
        cluster_id=row["cluster_id"],
        cluster_name=row["cluster_name"],
        creator=row["creator"],
        creator_id=row["creator_id"],
        rollout=None if row["rollout"] is None else Rollout(**row["rollout"]),
        create_time=row["create_time"],
        counts=counts,
        last_end=max((group["last_end"] for group in groups if group["last_end"]), default=None),
    )


def _host(row: JSON, state: TaskState, changes: Sequence[RecordedChange]) -> RequestHost:
    return RequestHost(
        host_id=row["host_id"],
        host_name=row["host_name"],
        task_id=row["task_id"],
        state=state,
        operation=row["operation"],
        start_time=row["start_time"],
        finish_time=row["finish_time"],
        done=row["done"],
        subtasks=row["subtasks"],
        subtask=row["subtask"] or "",
        reason=row["reason"] or "",
        findings=[Finding(**found) for found in row["findings"] or ()],
        changes=changes,
    )


def _state(row: JSON, full: Collection[int], blocked: bool = False) -> TaskState:
    return task_state(
        row["status"],
        row["operation"],
        held_by=row["held_by"],
        superseded=row["superseded"],
        has_run=row["has_run"],
        blocked=blocked or (row["cluster_id"] in full and not row["is_check"]),
    )
