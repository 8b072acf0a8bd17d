"""Writing what happens to a task instance: changes in, one transaction out, and whoever watches is told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from service import document, state
from service.database import LOST, Connection, Database, execute, fetch, fetch_as
from service.errors_tasks import IllegalTransition
from service.events import Change, Code, Ended, Learned, Logged, RunEnd, Started, Verdict
from service.learned import learn
from service.metrics import TASKS_ENDED
from service.state import READY, SKIPPED, TRANSITIONS, Trigger
from service.types import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus

CANCELED = ("CANCELED", "CANCEL_INCOMPLETE")
INTERRUPTED = "The worker that ran it has died. What the run did on the host until then stays; a retry looks anew."
HANDED_BACK = "The worker is being stopped; its run was ended, and the next worker starts this subtask again."

PAUSE = 0.3  # seconds until the next try to reach it

log = logging.getLogger(__name__)


class RunTaken(Exception):
    """Another worker took this run for dead and has answered for it."""


@dataclass(kw_only=True)
class Ledger:
    """One transaction on one locked task instance: its rows as they are by now, and the log that goes with them.

    `moment` is when that happened which is written next; None = now.
    """

    connection: Connection
    task: TaskInstance
    subtasks: dict[int, Subtask]
    executor: str
    moment: datetime | None = None
    log: list[tuple[int, int, str]] = field(default_factory=list)  # subtask id, run time, text
    ended: TaskStatus | None = None  # what the task instance has become, if it has ended just now
    changed: bool = False  # whether the document is another one than before

    async def apply(self, change: Change) -> None:
        """Write a change of a run, which tells no secret (`excerpts`)."""
        subtask_id = next(subtask.id for subtask in self.subtasks.values() if subtask.role == change.role)
        match change:
            case Started():
                await self.start(subtask_id)
            case Logged(text=text):
                self.write(subtask_id, text)
            case Learned(values=values):
                await learn(self.connection, "learn_server", self.task.obproxy_server_id, values)
            case Ended(code=code, message=message):
                if message:
                    self.write(subtask_id, f"{code}: {message}" if code else message)
                await self.end(subtask_id, _trigger(change))

    async def pass_skipped(self) -> None:
        """End what is to be skipped and whose turn it is: no code runs for it, and what waited for it gets ready."""
        while skipped := [s.id for s in self.subtasks.values() if s.status is READY and s.operation in SKIPPED]:
            for subtask_id in skipped:
                await self.start(subtask_id)
                await self.end(subtask_id, Trigger.SUCCEED)

    async def move(self, subtask_id: int, trigger: Trigger, *, runs: int = 0) -> Subtask:
        """Move a subtask; raises IllegalTransition, which undoes everything, when its position does not allow it."""
        subtask = self.subtasks[subtask_id]
        after = TRANSITIONS.get(((subtask.status, subtask.operation), trigger))
        moved = after and await fetch(
            self.connection,
            "move_subtask",
            subtask_id=subtask_id,
            status=after[0],
            operation=after[1],
            runs=runs,
            from_status=subtask.status,
            from_operation=subtask.operation,
            executor=self.executor,
            moment=self.moment,
        )
        if not (after and moved):
            raise IllegalTransition(
                subtask_id=subtask_id, found=subtask.status, operation=trigger, expected=_or(state.allowed(trigger))
            )
        self.changed = True
        self.subtasks[subtask_id] = replace(
            subtask, status=after[0], operation=after[1], run_time=subtask.run_time + runs
        )
        return self.subtasks[subtask_id]

    def write(self, subtask_id: int, text: str) -> None:
        """Add to the log of a subtask."""
        self.log.append((subtask_id, self.subtasks[subtask_id].run_time, text))

    async def start(self, subtask_id: int) -> None:
        """A subtask runs from now on."""
        moved = await self.move(subtask_id, Trigger.START)
        self.write(subtask_id, _separator(moved.operation, self.moment or datetime.now(UTC)))

    async def end(self, subtask_id: int, trigger: Trigger) -> None:
        """A subtask has ended; whoever waited for that gets ready."""
        moved = await self.move(subtask_id, trigger)
        self.write(
            subtask_id, f"Set state for subtask: {subtask_id}, operation: {moved.operation}, state: {moved.status}"
        )
        backward = self.task.operation is Operation.ROLLBACK
        find, next_trigger = (state.unwindable, Trigger.UNWIND) if backward else (state.promotable, Trigger.PROMOTE)
        for waiting in find(list(self.subtasks.values())):
            await self.move(waiting, next_trigger)

    async def close(self) -> None:
        """Write the log; the task instance follows its subtasks, and the OBProxy server the task instance."""
        if self.log:
            subtask_ids, run_times, contents = (list(column) for column in zip(*self.log, strict=True))
            await execute(
                self.connection, "append_log", subtask_ids=subtask_ids, run_times=run_times, contents=contents
            )
        status = state.task_status(self.task.operation, [s.status for s in self.subtasks.values()])
        if status is not TaskStatus.RUNNING and self.task.status is TaskStatus.RUNNING:
            await execute(self.connection, "finish_task", task_id=self.task.id, status=status, moment=self.moment)
            self.changed, self.ended = True, status
        if status is TaskStatus.SUCCESSFUL:
            ending = "remove_server" if self.task.operation is Operation.ROLLBACK else "server_taken_over"
            await execute(self.connection, ending, server_id=self.task.obproxy_server_id)
            await execute(self.connection, "delete_secrets", task_id=self.task.id)
        await execute(self.connection, "announce_tasks", task_ids=[self.task.id], changed=self.changed)


async def open_ledger(connection: Connection, task_id: int, executor: str) -> Ledger | None:
    """The ledger of a task instance, which nobody else changes until the transaction ends; None = there is none."""
    tasks = await fetch_as(connection, TaskInstance, "lock_task", task_id=task_id)
    if not tasks:
        return None
    subtasks = await fetch_as(connection, Subtask, "subtasks", task_ids=[task_id])
    return Ledger(
        connection=connection, task=tasks[0], subtasks={subtask.id: subtask for subtask in subtasks}, executor=executor
    )


class Recorder:
    """Records what happens to one task instance.

    With `run`, the ident of its run, each call is a report of it: written once however often the database goes away
    meanwhile, or not at all when the run is not this worker's any more (RunTaken).
    """

    def __init__(self, database: Database, task_id: int, executor: str, *, run: str | None = None) -> None:
        self._database = database
        self._task_id = task_id
        self._executor = executor
        self._run = run
        self._batch = 0

    async def record(self, changes: Sequence[Change], end: RunEnd | None = None) -> None:
        """Write `changes`, in their order, all or none; then the document is what they make of it. `end`: the run's."""

        async def apply(ledger: Ledger) -> None:
            for change in changes:
                await ledger.apply(change)

        if changes or end is not None:
            await self._write(apply, end)

    async def pass_skipped(self) -> None:
        """End what is to be skipped: no code runs for it, and what waited for it gets ready (E4, E5)."""
        await self._write(Ledger.pass_skipped)

    async def hand_back(self, end: RunEnd) -> None:
        """The worker is being stopped: what runs is READY again, for the next one; what was to be canceled is."""

        async def apply(ledger: Ledger) -> None:
            for subtask in list(ledger.subtasks.values()):
                if subtask.status is SubtaskStatus.RUNNING:
                    ledger.write(subtask.id, HANDED_BACK)
                    await ledger.move(subtask.id, Trigger.HAND_BACK)
                elif subtask.status is SubtaskStatus.CANCELING:
                    await ledger.end(subtask.id, Trigger.CANCELED)

        await self._write(apply, end)

    async def bury(self, dead_after: float) -> bool:
        """Fail what a dead worker left in the middle; False when a worker holds a run of this task instance.

        A worker is dead for a run that it has not renewed for `dead_after` seconds.
        """
        async with self._database.transaction() as connection:
            ledger = await self._open(connection)
            if await fetch(connection, "held_runs", task_id=self._task_id, dead_after=dead_after):
                return False
            ended = await fetch(connection, "finish_runs_of_task", task_id=self._task_id)
            statuses = {subtask.status for subtask in ledger.subtasks.values()}
            if ledger.task.status is TaskStatus.RUNNING and (ended or state.UNFINISHED & statuses):
                first = state.to_run(ledger.task.operation, list(ledger.subtasks.values()))[0]
                code: Code = "CANCELED" if first.status is SubtaskStatus.CANCELING else "INTERRUPTED"
                change = Ended(role=first.role, verdict=Verdict.FAILED, code=code, message=INTERRUPTED)
                await ledger.apply(change)
                await ledger.close()
        return True

    async def _write(self, apply: Callable[[Ledger], Awaitable[None]], end: RunEnd | None = None) -> None:
        self._batch += 1
        while True:
            try:
                async with self._database.transaction() as connection:
                    ledger = await self._open(connection)
                    if await self._is_due(connection, end):
                        await apply(ledger)
                        await ledger.close()
                if ledger.ended is not None:
                    TASKS_ENDED.labels(ledger.task.operation, ledger.ended).inc()
                return
            except LOST as error:
                if self._run is None:
                    raise
                log.warning("Run %s cannot be recorded now: %s", self._run, error, extra={"action": "record_waits"})
                await asyncio.sleep(PAUSE)

    async def _is_due(self, connection: Connection, end: RunEnd | None) -> bool:
        """Whether this report is still to be written: a commit may have succeeded although its answer was lost."""
        if self._run is None:
            return True
        rc = None if end is None else end.rc
        report = {"ident": self._run, "batch": self._batch, "ended": end is not None, "rc": rc}
        if await fetch(connection, "write_run", **report):
            return True
        rows = await fetch(connection, "batch_of_run", ident=self._run)
        if not rows or rows[0]["batch"] < self._batch:
            raise RunTaken
        return False

    async def _open(self, connection: Connection) -> Ledger:
        ledger = await open_ledger(connection, self._task_id, self._executor)
        assert ledger is not None, "a task instance is not removed while a job of it exists"
        return ledger


def _trigger(ended: Ended) -> Trigger:
    if ended.verdict is Verdict.SUCCESSFUL:
        return Trigger.SUCCEED
    return Trigger.CANCELED if ended.code in CANCELED else Trigger.FAIL


def _separator(operation: Operation, moment: datetime) -> str:
    """The line OCP starts each execution's log with (facts/ocp-api.md 3.8)."""
    return f"############{{{operation}}}{{{document.timestamp(moment)}}}############"


def _or(words: Sequence[str]) -> str:
    return " or ".join(words)
