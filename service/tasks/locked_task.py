"""Changes one task instance, whose rows are locked, in one transaction and by the transition table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from service.model import transitions, wire
from service.model.changes import HostChange
from service.model.fleet import KEPT_MANAGED, ServerStatus
from service.model.tasks import Operation, Subtask, TaskInstance, TaskStatus
from service.model.transitions import TRANSITIONS, Trigger
from service.outcome.run_progress import Change, Changed, Ended, Logged, ServerFacts, Started, Verdict
from service.store.database import Connection, execute, fetch, fetch_as
from service.store.queue import Queue
from service.tasks import rollouts, webhook_events
from service.tasks.errors import IllegalTransition
from service.tasks.server_facts import record_server_facts

CANCELED, FINDINGS = ("CANCELED", "CANCEL_INCOMPLETE"), "FINDINGS"
SEPARATOR, STATE_LINE = "############{", "Set state for subtask: "  # starts of log rows that only this class writes
CHANGES_LIMIT = 2_000  # changes of one subtask, of all its executions; further ones are left out


@dataclass(kw_only=True)
class LockedTask:
    """A task instance and its subtasks, locked in a transaction, with the log rows to write.

    `moment` is the time of the changes that follow; None = now.
    """

    connection: Connection
    task: TaskInstance
    subtasks: dict[int, Subtask]
    executor: str
    queue: Queue
    moment: datetime | None = None
    log: list[tuple[int, int, str]] = field(default_factory=list)  # subtask id, run time, text
    ended: TaskStatus | None = None  # final status, if the task instance has ended in this transaction
    changed: bool = False  # the document has changed in this transaction
    advances_rollout: bool = True  # its end may start the next hosts of its request

    @property
    def status(self) -> TaskStatus:
        """The status of the task instance that follows from those of its subtasks."""
        return transitions.task_status(self.task.operation, [s.status for s in self.subtasks.values()])

    async def apply_change(self, change: Change) -> None:
        """Apply a change from a run's redacted events."""
        subtask_id = next(subtask.id for subtask in self.subtasks.values() if subtask.role == change.role)
        match change:
            case Started():
                await self.start_subtask(subtask_id)
            case Logged(text=text):
                self.append_log(subtask_id, text)
            case ServerFacts(values=values):
                await record_server_facts(self.connection, "update_server_facts", self.task.obproxy_server_id, values)
            case Changed(changes=changes):
                await self._append_changes(subtask_id, changes)
            case Ended(code=code, message=message):
                if message:
                    self.append_log(subtask_id, f"{code}: {message}" if code else message)
                await self.end_subtask(subtask_id, _trigger(change), continues=code in ("", FINDINGS))

    async def complete_skipped(self) -> None:
        """Complete the READY subtasks that are to be skipped, without running them; their downstreams become READY."""
        while skipped := transitions.to_skip(self.subtasks.values()):
            for subtask_id in skipped:
                await self.start_subtask(subtask_id)
                await self.end_subtask(subtask_id, Trigger.SUCCEED)

    async def transition(self, subtask_id: int, trigger: Trigger, *, runs: int = 0) -> Subtask:
        """Move a subtask to its next position; raise IllegalTransition when the table has no such transition."""
        subtask = self.subtasks[subtask_id]
        after = TRANSITIONS.get(((subtask.status, subtask.operation), trigger))
        moved = after and await fetch(
            self.connection,
            "transition_subtask",
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
                subtask_id=subtask_id,
                found=subtask.status,
                operation=trigger,
                expected=_or(transitions.allowed(trigger)),
            )
        self.changed = True
        self.subtasks[subtask_id] = replace(
            subtask, status=after[0], operation=after[1], run_time=subtask.run_time + runs
        )
        return self.subtasks[subtask_id]

    def append_log(self, subtask_id: int, text: str) -> None:
        """Append a text to the log of a subtask; it may be of a managed host.

        A space keeps it from starting like the rows of this class, by which executions and error messages are found.
        """
        self._append_row(subtask_id, f" {text}" if text.startswith((SEPARATOR, STATE_LINE)) else text)

    def _append_row(self, subtask_id: int, text: str) -> None:
        self.log.append((subtask_id, self.subtasks[subtask_id].run_time, text))

    async def _append_changes(self, subtask_id: int, changes: Sequence[HostChange]) -> None:
        """Append what the current execution of a subtask has changed on the host."""
        subtask = self.subtasks[subtask_id]
        execution = {"operation": subtask.operation, "run_time": subtask.run_time}
        new = [asdict(change) | execution for change in changes]
        await execute(
            self.connection, "append_subtask_changes", subtask_id=subtask_id, new=Jsonb(new), limit=CHANGES_LIMIT
        )
        self.changed = True

    async def start_subtask(self, subtask_id: int) -> None:
        """Set a subtask to RUNNING, and append the separator to its log."""
        moved = await self.transition(subtask_id, Trigger.START)
        self._append_row(subtask_id, _separator(moved.operation, self.moment or datetime.now(UTC)))

    async def end_subtask(self, subtask_id: int, trigger: Trigger, *, continues: bool = True) -> None:
        """End a subtask; the subtasks that waited for it become READY, in check mode also if the run `continues`."""
        moved = await self.transition(subtask_id, trigger)
        self._append_row(subtask_id, f"{STATE_LINE}{subtask_id}, operation: {moved.operation}, state: {moved.status}")
        subtasks = list(self.subtasks.values())
        if self.task.operation is Operation.ROLLBACK:
            for waiting in transitions.ready_to_roll_back(subtasks):
                await self.transition(waiting, Trigger.ROLLBACK_READY)
            return
        for waiting in transitions.promotable(subtasks, after_failures=self.task.is_check and continues):
            await self.transition(waiting, Trigger.PROMOTE)

    async def save(self) -> None:
        """Write the log, end the task instance when its subtasks have ended, update its server, and notify."""
        if self.log:
            subtask_ids, run_times, contents = (list(column) for column in zip(*self.log, strict=True))
            await execute(
                self.connection, "insert_subtask_logs", subtask_ids=subtask_ids, run_times=run_times, contents=contents
            )
        status = self.status
        if status is not TaskStatus.RUNNING and self.task.status is TaskStatus.RUNNING:
            await execute(self.connection, "finish_task", task_id=self.task.id, status=status, moment=self.moment)
            self.changed, self.ended = True, status
        if status is TaskStatus.SUCCESSFUL:
            await self._settle_server()
            if not self.task.is_check:  # those of a check are for the takeover after it
                await execute(self.connection, "delete_task_secrets", task_id=self.task.id)
        elif self.ended is TaskStatus.FAILED:
            await execute(
                self.connection,
                "mark_server_managed_again",
                server_id=self.task.obproxy_server_id,
                statuses=sorted(KEPT_MANAGED),
            )
        await execute(self.connection, "notify_task_changes", task_ids=[self.task.id], changed=self.changed)
        if self.ended is not None and self.task.request_id is not None and self.advances_rollout:
            await rollouts.advance(self.connection, self.task.request_id)
        if self.ended is not None and self.queue.sends_webhooks:
            await webhook_events.announce_task_end(self.connection, self.queue, self.task.id)

    async def _settle_server(self) -> None:
        """Delete the OBProxy server when a takeover was rolled back or its deletion has succeeded; else it is managed.

        The submission or the run has set the status of the server (`Workflow.server_status`).
        """
        backward = self.task.operation is Operation.ROLLBACK
        leaving = ServerStatus.TAKINGOVER if backward else ServerStatus.DELETING
        server_id = self.task.obproxy_server_id
        await execute(self.connection, "delete_server_in_status", server_id=server_id, status=leaving)
        await execute(self.connection, "mark_server_managed", server_id=server_id, only_operating=backward)


async def lock_task(connection: Connection, queue: Queue, task_id: int, executor: str) -> LockedTask | None:
    """Lock a task instance and its server until the transaction ends; return None when it does not exist."""
    tasks = await fetch_as(connection, TaskInstance, "lock_task", task_id=task_id)
    if not tasks:
        return None
    subtasks = await fetch_as(connection, Subtask, "subtasks_of_tasks", task_ids=[task_id])
    return LockedTask(
        connection=connection,
        task=tasks[0],
        subtasks={subtask.id: subtask for subtask in subtasks},
        executor=executor,
        queue=queue,
    )


def _trigger(ended: Ended) -> Trigger:
    if ended.verdict is Verdict.SUCCESSFUL:
        return Trigger.SUCCEED
    return Trigger.CANCELED if ended.code in CANCELED else Trigger.FAIL


def _separator(operation: Operation, moment: datetime) -> str:
    """Return the line that starts each execution in a log (docs/reference/task-engine.md 3.8)."""
    return f"{SEPARATOR}{operation}}}{{{wire.timestamp(moment)}}}############"


def _or(words: Sequence[str]) -> str:
    return " or ".join(words)
