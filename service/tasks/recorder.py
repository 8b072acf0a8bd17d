"""Records changes of a task instance: one transaction per batch, with a notification to subscribers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import psycopg
from procrastinate.exceptions import ConnectorException

from service.model import transitions
from service.model.tasks import Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.model.transitions import Trigger
from service.observe.metrics import TASKS_ENDED
from service.outcome.run_progress import Change, Code, Ended, RunEnd, Verdict
from service.store.database import Connection, execute, fetch
from service.store.database_errors import is_contention, is_transient, retry_contention
from service.tasks.locked_task import LockedTask, lock_task
from service.tasks.resources import Resources

INTERRUPTED_MESSAGE = (
    "The worker that ran it has died. Changes that the run made on the host remain. A retry starts with a discovery."
)
REQUEUED_MESSAGE = "The worker is stopping. It ended its run; the next worker starts this subtask again."

RETRY_DELAY = 0.3  # seconds between two attempts

log = logging.getLogger(__name__)


Precondition = Callable[[Connection, Sequence[TaskInstance], Sequence[Subtask]], Awaitable[None]]


class LeaseLost(Exception):
    """The lease of the run has expired, and another worker has finished the run."""


class Recorder:
    """Records the changes of one task instance.

    With `run`, the ident of its run, each call is a batch of that run. A batch is recorded exactly once, with retries
    while the database is unavailable. LeaseLost is raised when another worker has finished the run.
    """

    def __init__(self, resources: Resources, task_id: int, *, run: str | None = None) -> None:
        self._resources = resources
        self._database = resources.database
        self._task_id = task_id
        self._run = run
        self._batch = 0

    async def record(
        self, changes: Sequence[Change], end: RunEnd | None = None, *, precondition: Precondition | None = None
    ) -> None:
        """Apply `changes` in their order, in one transaction; `end` is the end of the run.

        `precondition` gets the locked rows before anything is written, and may raise.
        """

        async def apply(locked: LockedTask) -> None:
            if precondition is not None:
                await precondition(locked.connection, [locked.task], list(locked.subtasks.values()))
            for change in changes:
                await locked.apply_change(change)

        if changes or end is not None:
            await self._write(apply, end)

    async def complete_skipped(self) -> None:
        """Complete the READY subtasks that are to be skipped (E4, E5)."""

        async def apply(locked: LockedTask) -> None:
            await locked.complete_skipped()
            status = self._resources.workflows[locked.task.workflow].run_status
            if status and locked.status is TaskStatus.SUCCESSFUL:  # no run may have set it
                server_ids = [locked.task.obproxy_server_id]
                await execute(locked.connection, "mark_servers_operating", server_ids=server_ids, status=status)

        await self._write(apply)

    async def requeue(self, end: RunEnd) -> None:
        """Set running subtasks to READY for the next worker, and end those in CANCELING: this worker is stopping."""

        async def apply(locked: LockedTask) -> None:
            for subtask in list(locked.subtasks.values()):
                if subtask.status is SubtaskStatus.RUNNING:
                    locked.append_log(subtask.id, REQUEUED_MESSAGE)
                    await locked.transition(subtask.id, Trigger.REQUEUE)
                elif subtask.status is SubtaskStatus.CANCELING:
                    await locked.end_subtask(subtask.id, Trigger.CANCELED)

        await self._write(apply, end)

    @retry_contention
    async def expire(self, expired: Mapping[str, datetime]) -> bool:
        """Fail the subtask whose run has an expired lease; return False when a run has a valid lease.

        The lease of a run is valid unless `expired` has the run with its current timestamp.
        """
        async with self._database.transaction() as connection:
            locked = await self._open(connection)
            leases = {"idents": [*expired], "stamps": [*expired.values()]}
            runs = await fetch(connection, "lock_unfinished_runs_of_task", task_id=self._task_id, **leases)
            if not all(run["expired"] for run in runs):
                return False
            ended = await fetch(connection, "finish_runs_of_task", task_id=self._task_id)
            statuses = {subtask.status for subtask in locked.subtasks.values()}
            if locked.task.status is TaskStatus.RUNNING and (ended or transitions.UNFINISHED & statuses):
                first = transitions.remaining(locked.task.operation, list(locked.subtasks.values()))[0]
                code: Code = "CANCELED" if first.status is SubtaskStatus.CANCELING else "INTERRUPTED"
                change = Ended(role=first.role, verdict=Verdict.FAILED, code=code, message=INTERRUPTED_MESSAGE)
                await locked.apply_change(change)
                await locked.save()
        return True

    async def _write(self, apply: Callable[[LockedTask], Awaitable[None]], end: RunEnd | None = None) -> None:
        self._batch += 1
        while True:
            try:
                async with self._database.transaction() as connection:
                    locked = await self._open(connection)
                    if await self._is_unwritten(connection, end):
                        await apply(locked)
                        await locked.save()
                if locked.ended is not None:
                    TASKS_ENDED.labels(locked.task.operation, locked.ended).inc()
                return
            except (psycopg.Error, ConnectorException) as error:
                if not is_transient(error) or (self._run is None and not is_contention(error)):
                    raise
                log.warning(
                    "Run %s cannot be recorded now; trying again: %s",
                    self._run,
                    error,
                    extra={"action": "recording_delayed"},
                )
                await asyncio.sleep(RETRY_DELAY)

    async def _is_unwritten(self, connection: Connection, end: RunEnd | None) -> bool:
        """Return whether this batch is not yet recorded: a commit may have succeeded before the connection was lost."""
        if self._run is None:
            return True
        rc = None if end is None else end.rc
        report = {"ident": self._run, "batch": self._batch, "ended": end is not None, "rc": rc}
        if await fetch(connection, "record_run_batch", **report):
            return True
        rows = await fetch(connection, "last_batch_of_run", ident=self._run)
        if not rows or rows[0]["batch"] < self._batch:
            raise LeaseLost
        return False

    async def _open(self, connection: Connection) -> LockedTask:
        locked = await lock_task(connection, self._resources.queue, self._task_id, self._resources.executor)
        assert locked is not None, "a task instance is not removed while a job of it exists"
        return locked
