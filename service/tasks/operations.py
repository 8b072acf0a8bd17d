"""What people ask of a task instance that is there: retry, roll back, skip, cancel (docs/reference/task-engine.md 3.2,
U2 to U6).

Each is one transaction that changes positions and puts a job on the queue; nothing runs here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from service.model import transitions
from service.model.tasks import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.model.transitions import Trigger
from service.store.database import execute, fetch
from service.store.failures import retry_contention
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
from service.tasks.ledger import Ledger, open_ledger
from service.tasks.resources import Resources


@retry_contention
async def retry_task(resources: Resources, task_id: int) -> None:
    """U2: every FAILED subtask runs again, and what was behind it; a failed rollback goes on rolling back."""
    async with _ledger(resources, task_id) as ledger:
        _require_failed(ledger, Operation.RETRY)
        for subtask in _failed(ledger):
            await ledger.move(subtask.id, _retry_trigger(ledger), runs=1)
        await _resume(resources, ledger, Operation.RETRY)


@retry_contention
async def rollback_task(resources: Resources, task_id: int) -> None:
    """U3: everything that was begun is undone, the last first."""
    async with _ledger(resources, task_id) as ledger:
        _require_failed(ledger, Operation.ROLLBACK)
        if transitions.rollback_prohibited(ledger.task, ledger.subtasks.values()):
            raise RollbackProhibited(task_id=task_id)
        for subtask in [s for s in ledger.subtasks.values() if s.status is not SubtaskStatus.PENDING]:
            await ledger.move(subtask.id, Trigger.ROLLBACK)
        for subtask in transitions.last_begun(ledger.subtasks.values()):
            await ledger.move(subtask.id, Trigger.UNWIND)
        await _resume(resources, ledger, Operation.ROLLBACK)


@retry_contention
async def retry_subtask(resources: Resources, task_id: int, subtask_id: int) -> None:
    """U4: this FAILED subtask runs again, and what was behind it."""
    async with _ledger(resources, task_id) as ledger:
        _require_subtask(ledger, subtask_id, Operation.RETRY, SubtaskStatus.FAILED)
        await ledger.move(subtask_id, _retry_trigger(ledger))
        await _resume(resources, ledger, ledger.task.operation)


@retry_contention
async def skip_subtask(resources: Resources, task_id: int, subtask_id: int) -> None:
    """U5: this FAILED subtask counts as done (in a rollback: as undone), and what was behind it runs."""
    async with _ledger(resources, task_id) as ledger:
        _require_subtask(ledger, subtask_id, Operation.SKIP, SubtaskStatus.FAILED)
        rolling_back = ledger.task.operation is Operation.ROLLBACK
        await ledger.move(subtask_id, Trigger.SKIP_ROLLBACK if rolling_back else Trigger.SKIP)
        await _resume(resources, ledger, ledger.task.operation)


@retry_contention
async def cancel_subtask(resources: Resources, task_id: int, subtask_id: int) -> None:
    """U6: the run is to end; it is CANCELING until nothing of it is left. Canceling again is the same wish."""
    async with _ledger(resources, task_id) as ledger:
        subtask = _require_subtask(ledger, subtask_id, Operation.CANCEL, SubtaskStatus.RUNNING, SubtaskStatus.CANCELING)
        if subtask.status is SubtaskStatus.RUNNING:
            await ledger.move(subtask_id, Trigger.CANCEL)
    async with resources.database.transaction() as connection:
        jobs = [row["id"] for row in await fetch(connection, "running_job_of_task", task_id=task_id)]
    await resources.queue.abort(jobs)


@asynccontextmanager
async def _ledger(resources: Resources, task_id: int) -> AsyncIterator[Ledger]:
    async with resources.database.transaction() as connection:
        ledger = await open_ledger(connection, task_id, resources.executor)
        if ledger is None:
            raise UnknownTask(task_id=task_id)
        _require_open(ledger.task)
        yield ledger
        await execute(connection, "notify_task_changes", task_ids=[task_id], changed=True)


def _require_open(task: TaskInstance) -> None:
    if transitions.is_external(task):
        raise ReadOnly(task_id=task.id)
    if task.superseded_by is not None:
        raise Superseded(task_id=task.id, newer=task.superseded_by)
    if transitions.read_only(task):
        raise ServerGone(task_id=task.id)


async def _resume(resources: Resources, ledger: Ledger, operation: Operation) -> None:
    """The task instance runs again, and a job stands for it; a task instance that rolls back keeps doing so."""
    task = ledger.task
    kept = Operation.ROLLBACK if task.operation is Operation.ROLLBACK else operation
    if task.status is TaskStatus.RUNNING:
        return  # its job is still there: a chain has one READY subtask at a time
    try:
        async with ledger.connection.transaction():
            await execute(ledger.connection, "resume_task", task_id=task.id, operation=kept)
    except psycopg.errors.UniqueViolation:
        busy = await fetch(ledger.connection, "running_tasks", host_ids=[task.host_id])
        raise HostBusy(host_id=task.host_id, task_id=busy[0]["id"] if busy else None) from None
    await resources.queue.defer(ledger.connection, {task.id: task.host_id})


def _retry_trigger(ledger: Ledger) -> Trigger:
    return Trigger.RETRY_ROLLBACK if ledger.task.operation is Operation.ROLLBACK else Trigger.RETRY


def _failed(ledger: Ledger) -> list[Subtask]:
    return [subtask for subtask in ledger.subtasks.values() if subtask.status is SubtaskStatus.FAILED]


def _require_failed(ledger: Ledger, operation: Operation) -> None:
    if ledger.task.status is not TaskStatus.FAILED:
        raise OperationNotAllowed(
            task_id=ledger.task.id, found=ledger.task.status, operation=operation, expected=TaskStatus.FAILED
        )


def _require_subtask(ledger: Ledger, subtask_id: int, operation: Operation, *expected: SubtaskStatus) -> Subtask:
    subtask = ledger.subtasks.get(subtask_id)
    if subtask is None:
        raise UnknownSubtask(task_id=ledger.task.id, subtask_id=subtask_id)
    if subtask.status not in expected:
        raise SubtaskOperationNotAllowed(
            subtask_id=subtask_id, found=subtask.status, operation=operation, expected=" or ".join(expected)
        )
    return subtask
