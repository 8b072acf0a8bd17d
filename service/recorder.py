"""Writing what happens to a task instance: changes in, one transaction out, and whoever watches is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from service import document, state
from service.database import Connection, Database, execute, fetch, fetch_as
from service.errors import IllegalTransition
from service.events import Change, Ended, Learned, Logged, Started, Verdict
from service.state import READY, SKIPPED, TRANSITIONS, Trigger
from service.types import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus

CANCELED = ("CANCELED", "CANCEL_INCOMPLETE")
HANDED_BACK = "The worker is being stopped; its run was ended, and the next worker starts this subtask again."

Mask = Callable[[str], str]


@dataclass(kw_only=True)
class Ledger:
    """One transaction on one locked task instance: its rows as they are by now, and the log that goes with them."""

    connection: Connection
    task: TaskInstance
    subtasks: dict[int, Subtask]
    executor: str
    log: list[tuple[int, int, str]] = field(default_factory=list)  # subtask id, run time, text

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
        )
        if not (after and moved):
            raise IllegalTransition(
                subtask_id=subtask_id, found=subtask.status, operation=trigger, expected=_or(state.allowed(trigger))
            )
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
        self.write(subtask_id, _separator(moved.operation))

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
            await execute(self.connection, "finish_task", task_id=self.task.id, status=status)
        if status is TaskStatus.SUCCESSFUL:
            ending = "remove_server" if self.task.operation is Operation.ROLLBACK else "server_taken_over"
            await execute(self.connection, ending, server_id=self.task.obproxy_server_id)
            await execute(self.connection, "delete_secrets", task_id=self.task.id)
        await execute(self.connection, "notify_task", task_id=self.task.id)


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
    """Records one run of one task instance."""

    def __init__(self, database: Database, task_id: int, executor: str, mask: Mask = str) -> None:
        self._database = database
        self._task_id = task_id
        self._executor = executor
        self._mask = mask

    async def record(self, changes: Sequence[Change]) -> None:
        """Write `changes`, in their order, all or none; then the document is what they make of it."""
        if not changes:
            return
        async with self._database.transaction() as connection:
            ledger = await self._open(connection)
            by_role = {subtask.role: subtask.id for subtask in ledger.subtasks.values()}
            for change in changes:
                await self._apply(ledger, by_role[change.role], change)
            await ledger.close()

    async def pass_skipped(self) -> None:
        """End what is to be skipped: no code runs for it, and what waited for it gets ready (E4, E5)."""
        async with self._database.transaction() as connection:
            ledger = await self._open(connection)
            while skipped := [s.id for s in ledger.subtasks.values() if s.status is READY and s.operation in SKIPPED]:
                for subtask_id in skipped:
                    await ledger.start(subtask_id)
                    await ledger.end(subtask_id, Trigger.SUCCEED)
            await ledger.close()

    async def hand_back(self) -> None:
        """The worker is being stopped: what runs is READY again, for the next one; what was to be canceled is."""
        async with self._database.transaction() as connection:
            ledger = await self._open(connection)
            for subtask in list(ledger.subtasks.values()):
                if subtask.status is SubtaskStatus.RUNNING:
                    ledger.write(subtask.id, HANDED_BACK)
                    await ledger.move(subtask.id, Trigger.HAND_BACK)
                elif subtask.status is SubtaskStatus.CANCELING:
                    await ledger.end(subtask.id, Trigger.CANCELED)
            await ledger.close()

    async def _open(self, connection: Connection) -> Ledger:
        ledger = await open_ledger(connection, self._task_id, self._executor)
        assert ledger is not None, "a task instance is not removed while a job of it exists"
        return ledger

    async def _apply(self, ledger: Ledger, subtask_id: int, change: Change) -> None:
        match change:
            case Started():
                await ledger.start(subtask_id)
            case Logged(text=text):
                ledger.write(subtask_id, self._mask(text))
            case Learned(values=values):
                server = ledger.task.obproxy_server_id
                await execute(ledger.connection, "learn_server", server_id=server, values=Jsonb(dict(values)))
            case Ended(code=code, message=message):
                if message:
                    ledger.write(subtask_id, self._mask(f"{code}: {message}" if code else message))
                await ledger.end(subtask_id, _trigger(change))


def _trigger(ended: Ended) -> Trigger:
    if ended.verdict is Verdict.SUCCESSFUL:
        return Trigger.SUCCEED
    return Trigger.CANCELED if ended.code in CANCELED else Trigger.FAIL


def _separator(operation: Operation) -> str:
    """The line OCP starts each execution's log with (facts/ocp-api.md 3.8)."""
    return f"############{{{operation}}}{{{document.timestamp(datetime.now(UTC))}}}############"


def _or(words: Sequence[str]) -> str:
    return " or ".join(words)
