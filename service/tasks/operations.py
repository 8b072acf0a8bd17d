"""Operations on task instances and subtasks: retry, roll back, skip, cancel.

Each is one transaction that changes positions and puts a job on the queue (docs/reference/task-engine.md 3.2, U2 to
U6).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from service.model import transitions
from service.model.tasks import Held, Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.model.transitions import Trigger
from service.store.database import execute, fetch
from service.store.database_errors import retry_contention
from service.tasks.errors import (
    HostBusy,
    OperationNotAllowed,
    ReadOnly,
    RollbackProhibited,
    ServerGone,
    SubtaskOperationNotAllowed,
    Superseded,
    UnknownSubtask,
    UnknownTask,
)
from service.tasks.locked_task import LockedTask, lock_task
from service.tasks.resources import Resources


@retry_contention
async def retry_task(resources: Resources, task_id: int, *, held_by: Held | None = None) -> None:
    """Retry a task instance (U2): resume it at its FAILED subtasks. A failed rollback resumes the rollback.

    With `held_by`, its job is held until the rollout of its request starts it.
    """
    async with _locked_task(resources, task_id) as locked:
        _require_failed(locked, Operation.RETRY)
        for subtask in _failed(locked):
            await locked.transition(subtask.id, _retry_trigger(locked), runs=1)
        await _resume(resources, locked, Operation.RETRY, held_by)


@retry_contention
async def rollback_task(resources: Resources, task_id: int) -> None:
    """Roll a task instance back (U3): undo every subtask that has started, the last first."""
    async with _locked_task(resources, task_id) as locked:
        _require_failed(locked, Operation.ROLLBACK)
        if transitions.rollback_prohibited(locked.task, locked.subtasks.values()):
            raise RollbackProhibited(task_id=task_id)
        for subtask in [s for s in locked.subtasks.values() if s.status is not SubtaskStatus.PENDING]:
            await locked.transition(subtask.id, Trigger.ROLLBACK)
        for subtask in transitions.rollback_frontier(locked.subtasks.values()):
            await locked.transition(subtask.id, Trigger.ROLLBACK_READY)
        await _resume(resources, locked, Operation.ROLLBACK)


@retry_contention
async def retry_subtask(resources: Resources, task_id: int, subtask_id: int) -> None:
    """Retry a FAILED subtask and resume its downstreams (U4)."""
    async with _locked_task(resources, task_id) as locked:
        _require_subtask(locked, subtask_id, Operation.RETRY, SubtaskStatus.FAILED)
        await locked.transition(subtask_id, _retry_trigger(locked))
        await _resume(resources, locked, locked.task.operation)


@retry_contention
async def skip_subtask(resources: Resources, task_id: int, subtask_id: int) -> None:
    """Skip a FAILED subtask (U5): it counts as done (in a rollback: as undone), and its downstreams run."""
    async with _locked_task(resources, task_id) as locked:
        _require_subtask(locked, subtask_id, Operation.SKIP, SubtaskStatus.FAILED)
        rolling_back = locked.task.operation is Operation.ROLLBACK
        await locked.transition(subtask_id, Trigger.SKIP_ROLLBACK if rolling_back else Trigger.SKIP)
        await _resume(resources, locked, locked.task.operation)


@retry_contention
async def cancel_subtask(resources: Resources, task_id: int, subtask_id: int) -> None:
    """Cancel a RUNNING subtask (U6); it stays CANCELING until no process of the run is left."""
    async with _locked_task(resources, task_id) as locked:
        subtask = _require_subtask(locked, subtask_id, Operation.CANCEL, SubtaskStatus.RUNNING, SubtaskStatus.CANCELING)
        if subtask.status is SubtaskStatus.RUNNING:
            await locked.transition(subtask_id, Trigger.CANCEL)
    await _abort_job(resources, task_id)


@retry_contention
async def cancel_task(resources: Resources, task_id: int) -> None:
    """Cancel the RUNNING subtasks of a task instance. Raise SubtaskOperationNotAllowed when none is RUNNING."""
    async with _locked_task(resources, task_id) as locked:
        if locked.task.status is not TaskStatus.RUNNING:
            raise _not_allowed(locked, Operation.CANCEL, TaskStatus.RUNNING)
        statuses = {subtask.id: subtask.status for subtask in locked.subtasks.values()}
        running = [subtask_id for subtask_id, status in statuses.items() if status is SubtaskStatus.RUNNING]
        if not running and SubtaskStatus.CANCELING not in statuses.values():
            ready = next(subtask_id for subtask_id, status in statuses.items() if status is SubtaskStatus.READY)
            _require_subtask(locked, ready, Operation.CANCEL, SubtaskStatus.RUNNING, SubtaskStatus.CANCELING)
        for subtask_id in running:
            await locked.transition(subtask_id, Trigger.CANCEL)
    await _abort_job(resources, task_id)


async def _abort_job(resources: Resources, task_id: int) -> None:
    """End the run of a task instance, whose subtask is CANCELING."""
    async with resources.database.transaction() as connection:
        jobs = [row["id"] for row in await fetch(connection, "running_job_of_task", task_id=task_id)]
    await resources.queue.abort_jobs(jobs)


@asynccontextmanager
async def _locked_task(resources: Resources, task_id: int) -> AsyncIterator[LockedTask]:
    async with resources.database.transaction() as connection:
        locked = await lock_task(connection, resources.queue, task_id, resources.executor)
        if locked is None:
            raise UnknownTask(task_id=task_id)
        _require_open(locked.task)
        yield locked
        await execute(connection, "notify_task_changes", task_ids=[task_id], changed=True)


def _require_open(task: TaskInstance) -> None:
    if transitions.is_external(task):
        raise ReadOnly(task_id=task.id)
    if task.superseded_by is not None:
        raise Superseded(task_id=task.id, newer=task.superseded_by)
    if transitions.read_only(task):
        raise ServerGone(task_id=task.id)


async def _resume(resources: Resources, locked: LockedTask, operation: Operation, held_by: Held | None = None) -> None:
    """Resume a task instance, and put a job on the queue, held or not; a rollback stays a rollback."""
    task = locked.task
    kept = Operation.ROLLBACK if task.operation is Operation.ROLLBACK else operation
    if task.status is TaskStatus.RUNNING:
        return  # its job still exists: a chain has one READY subtask at a time
    try:
        async with locked.connection.transaction():
            await execute(locked.connection, "resume_task", task_id=task.id, operation=kept, held_by=held_by)
    except psycopg.errors.UniqueViolation:
        busy = await fetch(locked.connection, "running_tasks", host_ids=[task.host_id])
        raise HostBusy(host_id=task.host_id, task_id=busy[0]["id"] if busy else None) from None
    put = resources.queue.defer if held_by is None else resources.queue.hold
    await put(locked.connection, {task.id: task.host_id})


def _retry_trigger(locked: LockedTask) -> Trigger:
    if locked.task.skips_host:  # it was canceled before a worker skipped its subtasks
        return Trigger.SKIP
    return Trigger.RETRY_ROLLBACK if locked.task.operation is Operation.ROLLBACK else Trigger.RETRY


def _failed(locked: LockedTask) -> list[Subtask]:
    return [subtask for subtask in locked.subtasks.values() if subtask.status is SubtaskStatus.FAILED]


def _require_failed(locked: LockedTask, operation: Operation) -> None:
    if locked.task.status is not TaskStatus.FAILED:
        raise _not_allowed(locked, operation, TaskStatus.FAILED)


def _not_allowed(locked: LockedTask, operation: Operation, expected: TaskStatus) -> OperationNotAllowed:
    return OperationNotAllowed(task_id=locked.task.id, found=locked.task.status, operation=operation, expected=expected)


def _require_subtask(locked: LockedTask, subtask_id: int, operation: Operation, *expected: SubtaskStatus) -> Subtask:
    subtask = locked.subtasks.get(subtask_id)
    if subtask is None:
        raise UnknownSubtask(task_id=locked.task.id, subtask_id=subtask_id)
    if subtask.status not in expected:
        raise SubtaskOperationNotAllowed(
            subtask_id=subtask_id, found=subtask.status, operation=operation, expected=" or ".join(expected)
        )
    return subtask
