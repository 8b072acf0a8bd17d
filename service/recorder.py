"""Writing what a run reports: changes in, one transaction out, and whoever watches is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from service import document, state
from service.database import Connection, Database, execute, fetch
from service.errors import IllegalTransition
from service.events import Change, Ended, Learned, Logged, Started, Verdict
from service.state import Trigger
from service.types import Subtask, SubtaskStatus, TaskInstance, TaskStatus

LogRow = tuple[int, int, str]  # subtask id, run time, text


class Recorder:
    """Records one run of one task instance. It alone moves subtasks while the run lives."""

    def __init__(
        self, database: Database, task: TaskInstance, subtasks: Sequence[Subtask], mask: Callable[[str], str]
    ) -> None:
        self._database = database
        self._task = task
        self._subtasks = {subtask.role: subtask for subtask in subtasks}
        self._mask = mask

    async def record(self, changes: Sequence[Change]) -> None:
        """Write `changes`, in their order, all or none; then the document is what they make of it."""
        if not changes:
            return
        before = dict(self._subtasks)
        try:
            async with self._database.transaction() as connection:
                await execute(connection, "lock_task", task_id=self._task.id)
                log: list[LogRow] = []
                for change in changes:
                    await self._apply(connection, change, log)
                await self._write_log(connection, log)
                await self._settle(connection)
                await execute(connection, "notify_task", task_id=self._task.id)
        except BaseException:
            self._subtasks = before
            raise

    async def _apply(self, connection: Connection, change: Change, log: list[LogRow]) -> None:
        subtask = self._subtasks[change.role]
        match change:
            case Started():
                moved = await self._move(connection, subtask, Trigger.START)
                log.append((subtask.id, subtask.run_time, _separator(moved)))
            case Logged(text=text):
                log.append((subtask.id, subtask.run_time, self._mask(text)))
            case Learned(values=values):
                server = self._task.obproxy_server_id
                await execute(connection, "learn_server", server_id=server, values=Jsonb(dict(values)))
            case Ended():
                await self._end(connection, subtask, change, log)

    async def _end(self, connection: Connection, subtask: Subtask, change: Ended, log: list[LogRow]) -> None:
        trigger = Trigger.SUCCEED if change.verdict is Verdict.SUCCESSFUL else Trigger.FAIL
        moved = await self._move(connection, subtask, trigger)
        if change.message:
            words = f"{change.code}: {change.message}" if change.code else change.message
            log.append((subtask.id, subtask.run_time, self._mask(words)))
        state_line = f"Set state for subtask: {subtask.id}, operation: {moved.operation}, state: {moved.status}"
        log.append((subtask.id, subtask.run_time, state_line))
        for promoted in state.promotable(list(self._subtasks.values())):
            waiting = next(s for s in self._subtasks.values() if s.id == promoted)
            await self._move(connection, waiting, Trigger.PROMOTE)

    async def _move(self, connection: Connection, subtask: Subtask, trigger: Trigger) -> Subtask:
        sources = sorted(state.sources(trigger))
        rows = await fetch(
            connection,
            "move_subtask",
            subtask_id=subtask.id,
            status=state.target(trigger),
            sources=sources,
            executor=self._task.executor,
        )
        if not rows:
            raise IllegalTransition(
                subtask_id=subtask.id, found=subtask.status, operation=trigger, expected=" or ".join(sources)
            )
        moved = replace(subtask, **rows[0])
        self._subtasks[subtask.role] = moved
        return moved

    async def _write_log(self, connection: Connection, log: Sequence[LogRow]) -> None:
        if log:
            subtask_ids, run_times, contents = (list(column) for column in zip(*log, strict=True))
            await execute(connection, "append_log", subtask_ids=subtask_ids, run_times=run_times, contents=contents)

    async def _settle(self, connection: Connection) -> None:
        """The task instance follows its subtasks, and the OBProxy server the task instance."""
        status = state.task_status([subtask.status for subtask in self._subtasks.values()])
        if status is TaskStatus.RUNNING:
            return
        await execute(connection, "finish_task", task_id=self._task.id, status=status)
        if status is TaskStatus.SUCCESSFUL:
            await execute(connection, "server_taken_over", server_id=self._task.obproxy_server_id)
            await execute(connection, "delete_secrets", task_id=self._task.id)


def remaining(subtasks: Sequence[Subtask]) -> list[Subtask]:
    """What a run of a task instance still has to do, in DAG order."""
    return [subtask for subtask in subtasks if subtask.status is not SubtaskStatus.SUCCESSFUL]


def _separator(subtask: Subtask) -> str:
    """The line OCP starts each execution's log with (facts/ocp-api.md 3.8)."""
    return f"############{{{subtask.operation}}}{{{document.timestamp(datetime.now(UTC))}}}############"
