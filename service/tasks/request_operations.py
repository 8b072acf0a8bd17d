"""Operations on a request: retry, roll back or cancel all of its task instances that allow it.

Each task instance is changed in a transaction of its own, by the function for a single one. A host that does not allow
the operation changes nothing for the others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from service.model import transitions
from service.model.errors import TakeoverError
from service.model.requests import HostState, RequestHost
from service.model.tasks import Operation, TaskStatus
from service.observe.metrics import TASKS_ENDED
from service.outcome.run_progress import Ended, Verdict
from service.store.database import fetch
from service.store.database_errors import retry_contention
from service.tasks import operations, requests
from service.tasks.errors import OperationNotAllowed, SubtaskOperationNotAllowed
from service.tasks.locked_task import LockedTask, lock_task
from service.tasks.resources import Resources

CANCELED_MESSAGE = "The request was canceled before a worker took this task instance. Nothing ran on the host."
CONCURRENCY = 4  # task instances that are changed at the same time
START_TIMEOUT = 3.0  # seconds until the first subtask of a run runs, so that it can be canceled
START_INTERVAL = 0.1  # seconds between two attempts

RETRYABLE = frozenset({HostState.FAILED, HostState.SUPERSEDED})
UNFINISHED = frozenset({HostState.WAITING, HostState.NOT_STARTED, HostState.QUEUED, HostState.RUNNING})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Whether an operation was accepted for a host; `error` is the reason if it was not."""

    host: RequestHost
    error: TakeoverError | None


OneTask = Callable[[Resources, int], Awaitable[None]]


async def retry(resources: Resources, request_id: int) -> list[Outcome]:
    """Retry all FAILED task instances of a request. Raise UnknownRequest."""
    return await _operate(resources, request_id, Operation.RETRY, operations.retry_task)


async def rollback(resources: Resources, request_id: int) -> list[Outcome]:
    """Roll all FAILED task instances of a request back. Raise UnknownRequest."""
    return await _operate(resources, request_id, Operation.ROLLBACK, operations.rollback_task)


async def cancel(resources: Resources, request_id: int) -> list[Outcome]:
    """Cancel all RUNNING task instances of a request: those that wait for a worker, then those with a run.

    Raise UnknownRequest.
    """
    hosts = await _hosts(resources, request_id)
    canceled = await _cancel_waiting(resources, request_id)
    return await _each(
        [(host, Operation.CANCEL, host.state in UNFINISHED) for host in hosts],
        lambda host: _cancel_started(resources, host.task_id),
        done=canceled,
    )


async def _operate(resources: Resources, request_id: int, operation: Operation, function: OneTask) -> list[Outcome]:
    hosts = await _hosts(resources, request_id)
    return await _each(
        [(host, operation, host.state in RETRYABLE) for host in hosts],
        lambda host: function(resources, host.task_id),
    )


async def _hosts(resources: Resources, request_id: int) -> list[RequestHost]:
    await requests.get(resources.database, request_id)
    return await requests.hosts(resources.database, request_id)


async def _each(
    hosts: Sequence[tuple[RequestHost, Operation, bool]],
    function: Callable[[RequestHost], Awaitable[None]],
    done: Collection[int] = (),
) -> list[Outcome]:
    """Apply `function` to the hosts whose state allows it, some at the same time; task instances in `done` have it."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(host: RequestHost, operation: Operation, allowed: bool) -> Outcome:
        if host.task_id in done:
            return Outcome(host=host, error=None)
        if not allowed:
            return Outcome(host=host, error=_not_allowed(host, operation))
        try:
            async with slots:
                await function(host)
        except TakeoverError as error:
            return Outcome(host=host, error=error)
        return Outcome(host=host, error=None)

    return list(await asyncio.gather(*(one(*host) for host in hosts)))


def _not_allowed(host: RequestHost, operation: Operation) -> OperationNotAllowed:
    expected = TaskStatus.RUNNING if operation is Operation.CANCEL else TaskStatus.FAILED
    return OperationNotAllowed(task_id=host.task_id, found=host.state, operation=operation, expected=expected)


@retry_contention
async def _cancel_waiting(resources: Resources, request_id: int) -> set[int]:
    """End the task instances whose jobs no worker has taken; return their ids."""
    ended: list[LockedTask] = []
    async with resources.database.transaction() as connection:
        for row in await fetch(connection, "remove_waiting_jobs_of_request", request_id=request_id):
            locked = await lock_task(connection, row["id"], resources.executor)
            if locked is None or locked.task.status is not TaskStatus.RUNNING:
                continue
            first = transitions.remaining(locked.task.operation, list(locked.subtasks.values()))[0]
            change = Ended(role=first.role, verdict=Verdict.FAILED, code="CANCELED", message=CANCELED_MESSAGE)
            await locked.apply_change(change)
            await locked.save()
            ended.append(locked)
    for locked in ended:
        TASKS_ENDED.labels(locked.task.operation, TaskStatus.FAILED).inc()
    return {locked.task.id for locked in ended}


async def _cancel_started(resources: Resources, task_id: int) -> None:
    """Cancel a task instance; when its run is between two subtasks, or is starting, wait for the next subtask."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            await operations.cancel_task(resources, task_id)
            return
        except SubtaskOperationNotAllowed:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(START_INTERVAL)
