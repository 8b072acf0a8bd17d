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
from service.model.requests import RequestHost
from service.model.states import BEFORE_RUN, TaskState
from service.model.tasks import Held, Operation, TaskStatus
from service.observe.metrics import TASKS_ENDED
from service.outcome.run_progress import Ended, Verdict
from service.store.database import fetch
from service.store.database_errors import retry_contention
from service.tasks import operations, requests, rollouts
from service.tasks.errors import OperationNotAllowed, SubtaskOperationNotAllowed
from service.tasks.locked_task import lock_task
from service.tasks.resources import Resources

CANCELED_MESSAGE = "The task instance was canceled while it waited for a worker. No run of it was in progress."
CONCURRENCY = 4  # task instances that are changed at the same time
START_TIMEOUT = 3.0  # seconds until the first subtask of a run runs, so that it can be canceled
START_INTERVAL = 0.1  # seconds between two attempts

RETRYABLE = frozenset({TaskState.FAILED, TaskState.SUPERSEDED})
UNFINISHED = BEFORE_RUN | {TaskState.RUNNING}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of an operation for one host; `error` is the reason if it was not accepted."""

    host: RequestHost
    error: TakeoverError | None


OneTask = Callable[[Resources, int], Awaitable[None]]


async def retry(resources: Resources, request_id: int) -> list[Outcome]:
    """Retry all FAILED task instances of a request. Raise UnknownRequest.

    A rollout resumes: the failed hosts start again in its batches, and so do those that were not to start. Its limit
    does not count the failures until now, nor those of hosts that fail again, except canary hosts.
    """
    request = await requests.get(resources.database, request_id)
    if request.rollout is None:
        return await _operate(resources, request_id, Operation.RETRY, operations.retry_task)
    hosts = await requests.hosts(resources.database, request_id)
    outcomes = await _each(
        [(host, Operation.RETRY, host.state in RETRYABLE) for host in hosts],
        lambda host: operations.retry_task(resources, host.task_id, held_by=Held.ROLLOUT),
        done=[host.task_id for host in hosts if host.state is TaskState.NOT_STARTED],
    )
    await rollouts.resume(resources.database, request_id)
    return outcomes


async def rollback(resources: Resources, request_id: int) -> list[Outcome]:
    """Roll all FAILED task instances of a request back. Raise UnknownRequest."""
    return await _operate(resources, request_id, Operation.ROLLBACK, operations.rollback_task)


async def cancel(resources: Resources, request_id: int) -> list[Outcome]:
    """Cancel all RUNNING task instances of a request: those that wait for a worker, then those with a run.

    In this order, since each canceled run makes room for a job that waits. Raise UnknownRequest.
    """
    hosts = await _hosts(resources, request_id)
    await rollouts.stop(resources.database, request_id)
    unfinished = [host.task_id for host in hosts if host.state in UNFINISHED]
    waiting = await _gather(lambda task_id: _cancel_waiting(resources, task_id), unfinished)
    return await _each(
        [(host, Operation.CANCEL, host.state in UNFINISHED) for host in hosts],
        lambda host: _cancel_started(resources, host.task_id),
        done=[task_id for task_id, ended in zip(unfinished, waiting, strict=True) if ended],
    )


async def retry_tasks(resources: Resources, task_ids: Sequence[int]) -> dict[int, TakeoverError]:
    """Retry task instances of any requests; return the errors of those that do not allow it."""
    return await _errors(task_ids, lambda task_id: operations.retry_task(resources, task_id))


async def rollback_tasks(resources: Resources, task_ids: Sequence[int]) -> dict[int, TakeoverError]:
    """Roll task instances of any requests back; return the errors of those that do not allow it."""
    return await _errors(task_ids, lambda task_id: operations.rollback_task(resources, task_id))


async def cancel_tasks(resources: Resources, task_ids: Sequence[int]) -> dict[int, TakeoverError]:
    """Cancel task instances of any requests, those that wait first; return the errors of those that do not allow it."""
    waiting = await _gather(lambda task_id: _cancel_waiting(resources, task_id), task_ids)
    started = [task_id for task_id, ended in zip(task_ids, waiting, strict=True) if not ended]
    errors = await _errors(started, lambda task_id: _cancel_started(resources, task_id))
    await rollouts.advance_of_tasks(resources.database, task_ids)
    return errors


async def _errors(task_ids: Sequence[int], function: Callable[[int], Awaitable[None]]) -> dict[int, TakeoverError]:
    async def one(task_id: int) -> TakeoverError | None:
        try:
            await function(task_id)
        except TakeoverError as error:
            return error
        return None

    outcomes = await _gather(one, task_ids)
    return {task_id: error for task_id, error in zip(task_ids, outcomes, strict=True) if error is not None}


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

    async def one(asked: tuple[RequestHost, Operation, bool]) -> Outcome:
        host, operation, allowed = asked
        if host.task_id in done:
            return Outcome(host=host, error=None)
        if not allowed:
            return Outcome(host=host, error=_not_allowed(host, operation))
        try:
            await function(host)
        except TakeoverError as error:
            return Outcome(host=host, error=error)
        return Outcome(host=host, error=None)

    return await _gather(one, hosts)


async def _gather[Subject, Result](
    function: Callable[[Subject], Awaitable[Result]], subjects: Sequence[Subject]
) -> list[Result]:
    """Return the results of `function` for all subjects; CONCURRENCY of them are worked on at the same time."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(subject: Subject) -> Result:
        async with slots:
            return await function(subject)

    return list(await asyncio.gather(*map(one, subjects)))


def _not_allowed(host: RequestHost, operation: Operation) -> OperationNotAllowed:
    expected = TaskStatus.RUNNING if operation is Operation.CANCEL else TaskStatus.FAILED
    return OperationNotAllowed(task_id=host.task_id, found=host.state, operation=operation, expected=expected)


@retry_contention
async def _cancel_waiting(resources: Resources, task_id: int) -> bool:
    """End a task instance whose job waits, or is held; return False when a worker has taken the job."""
    async with resources.database.transaction() as connection:
        locked = await lock_task(connection, resources.queue, task_id, resources.executor)
        if locked is None or locked.task.status is not TaskStatus.RUNNING:
            return False
        if not await fetch(connection, "remove_waiting_job", task_id=task_id):
            return False
        locked.advances_rollout = False  # the transaction must not lock the request after a held task instance
        first = transitions.remaining(locked.task.operation, list(locked.subtasks.values()))[0]
        await locked.apply_change(
            Ended(role=first.role, verdict=Verdict.FAILED, code="CANCELED", message=CANCELED_MESSAGE)
        )
        await locked.save()
    TASKS_ENDED.labels(locked.task.operation, TaskStatus.FAILED).inc()
    return True


async def _cancel_started(resources: Resources, task_id: int) -> None:
    """Cancel a task instance; when its run is between two subtasks, or is starting, wait for the next subtask.

    When its worker has postponed the job instead of starting a run, it waits again, and is ended so.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            await operations.cancel_task(resources, task_id)
            return
        except SubtaskOperationNotAllowed:
            if await _cancel_waiting(resources, task_id):
                return
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(START_INTERVAL)
