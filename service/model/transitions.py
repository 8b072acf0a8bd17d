"""The state machine of subtasks and task instances (docs/reference/task-engine.md 3.2). SQL enforces it again.

The state of a subtask is its status and operation. Two defects of the reference engine are not copied: a retry during a
rollback resumes the rollback (3.6), and a resumed task instance has no finish time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import product

from service.model.tasks import EXTERNAL, Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus

SubtaskState = tuple[SubtaskStatus, Operation]

PENDING, READY, RUNNING = SubtaskStatus.PENDING, SubtaskStatus.READY, SubtaskStatus.RUNNING
CANCELING, FAILED, SUCCESSFUL = SubtaskStatus.CANCELING, SubtaskStatus.FAILED, SubtaskStatus.SUCCESSFUL

UNFINISHED = frozenset({RUNNING, CANCELING})
FORWARD = (Operation.EXECUTE, Operation.RETRY)
BACKWARD = (Operation.ROLLBACK, Operation.ROLLBACK_SKIP)
SKIPPED = frozenset({Operation.SKIP, Operation.ROLLBACK_SKIP})


class Trigger(StrEnum):
    """A cause of a transition."""

    PROMOTE = "promote"  # E12: all its upstreams are SUCCESSFUL
    ROLLBACK_READY = "rollback ready"  # U3, E13: all its downstreams are PENDING, so it is rolled back next
    START = "start"  # E1: the run has reached its role
    SUCCEED = "succeed"  # E2 to E5: it becomes SUCCESSFUL, or PENDING in a rollback
    FAIL = "fail"  # E6 to E8
    CANCELED = "canceled"  # E10: the run was ended on a user's request
    REQUEUE = "requeue"  # its worker is being stopped, and the next worker starts it again
    RETRY = "retry"  # U2, U4
    RETRY_ROLLBACK = "retry rollback"  # the same while the task instance is being rolled back
    SKIP = "skip"  # U5
    SKIP_ROLLBACK = "skip rollback"
    CANCEL = "cancel"  # U6
    ROLLBACK = "rollback"  # U3: it waits to be rolled back


def _rules() -> Iterable[tuple[Iterable[SubtaskStatus], Iterable[Operation], Trigger, SubtaskState | SubtaskStatus]]:
    """Yield (statuses, operations, trigger, status or state after it); a status keeps the operation."""
    everything = tuple(Operation)
    yield (PENDING,), everything, Trigger.PROMOTE, READY
    yield (READY, FAILED, SUCCESSFUL), (Operation.ROLLBACK,), Trigger.ROLLBACK_READY, READY
    yield (READY,), everything, Trigger.START, RUNNING
    yield (RUNNING, CANCELING), (*FORWARD, Operation.SKIP), Trigger.SUCCEED, SUCCESSFUL
    yield (RUNNING, CANCELING), BACKWARD, Trigger.SUCCEED, PENDING
    # READY too: a run can fail before it reaches the first role.
    yield (READY, RUNNING), everything, Trigger.FAIL, FAILED
    yield (CANCELING,), everything, Trigger.FAIL, (FAILED, Operation.CANCEL)
    yield (READY, RUNNING, CANCELING), everything, Trigger.CANCELED, (FAILED, Operation.CANCEL)
    yield (RUNNING,), everything, Trigger.REQUEUE, READY
    yield (FAILED,), everything, Trigger.RETRY, (READY, Operation.RETRY)
    yield (FAILED,), everything, Trigger.RETRY_ROLLBACK, (READY, Operation.ROLLBACK)
    yield (FAILED,), everything, Trigger.SKIP, (READY, Operation.SKIP)
    yield (FAILED,), everything, Trigger.SKIP_ROLLBACK, (READY, Operation.ROLLBACK_SKIP)
    yield (RUNNING,), everything, Trigger.CANCEL, CANCELING
    for status in (READY, FAILED, SUCCESSFUL):
        yield (status,), everything, Trigger.ROLLBACK, (status, Operation.ROLLBACK)


TRANSITIONS: Mapping[tuple[SubtaskState, Trigger], SubtaskState] = {
    ((status, operation), trigger): after if isinstance(after, tuple) else (after, operation)
    for statuses, operations, trigger, after in _rules()
    for status, operation in product(statuses, operations)
}


def allowed(trigger: Trigger) -> list[SubtaskStatus]:
    """Return the statuses in which `trigger` is allowed."""
    return [status for status in SubtaskStatus if any(p[0] is status and t is trigger for p, t in TRANSITIONS)]


def promotable(subtasks: Collection[Subtask], *, after_failures: bool = False) -> list[int]:
    """Return the ids of the PENDING subtasks with only SUCCESSFUL upstreams; `after_failures`, also FAILED ones."""
    ended = (SUCCESSFUL, FAILED) if after_failures else (SUCCESSFUL,)
    done = {subtask.id for subtask in subtasks if subtask.status in ended}
    return [s.id for s in subtasks if s.status is PENDING and done.issuperset(s.upstreams)]


def rollback_frontier(subtasks: Collection[Subtask]) -> list[Subtask]:
    """Return the subtasks that a rollback continues with: not PENDING, with only PENDING downstreams."""
    undone = {subtask.id for subtask in subtasks if subtask.status is PENDING}
    return [s for s in subtasks if s.status is not PENDING and undone.issuperset(s.downstreams)]


def ready_to_roll_back(subtasks: Collection[Subtask]) -> list[int]:
    """Return the ids of the subtasks that waited to be rolled back and are next."""
    return [s.id for s in rollback_frontier(subtasks) if s.status is SUCCESSFUL and s.operation is Operation.ROLLBACK]


def to_skip(subtasks: Collection[Subtask]) -> list[int]:
    """Return the ids of the READY subtasks that are to be skipped."""
    return [s.id for s in subtasks if s.status is READY and s.operation in SKIPPED]


def task_status(operation: Operation, statuses: Collection[SubtaskStatus]) -> TaskStatus:
    """Return the status of a task instance with these subtasks (E12 to E14); it fails when no subtask runs any more."""
    goal = PENDING if operation is Operation.ROLLBACK else SUCCESSFUL
    if all(status is goal for status in statuses):
        return TaskStatus.SUCCESSFUL
    if FAILED in statuses and UNFINISHED.isdisjoint(statuses) and READY not in statuses:
        return TaskStatus.FAILED
    return TaskStatus.RUNNING


def remaining(operation: Operation, subtasks: Sequence[Subtask]) -> list[Subtask]:
    """Return the subtasks that a run must execute, in order. `subtasks` are in DAG order.

    A FAILED one that is not retried stays as it is: in check mode, the run continues after it.
    """
    if operation is Operation.ROLLBACK:
        return [subtask for subtask in reversed(subtasks) if subtask.status is not PENDING]
    return [subtask for subtask in subtasks if subtask.status not in (SUCCESSFUL, FAILED)]


def rollback_prohibited(task: TaskInstance, subtasks: Collection[Subtask]) -> bool:
    """Return whether a started subtask prohibits a rollback (docs/reference/task-engine.md 3.4)."""
    begun = [subtask for subtask in subtasks if subtask.status not in (PENDING, READY)]
    return task.prohibit_rollback or any(subtask.prohibit_rollback for subtask in begun)


def read_only(task: TaskInstance) -> bool:
    """Return whether a task instance allows no operation any more."""
    return is_external(task) or task.superseded_by is not None or _has_lost_server(task)


def is_external(task: TaskInstance) -> bool:
    """Return whether the run of a task instance was started by hand."""
    return task.type == EXTERNAL


def _has_lost_server(task: TaskInstance) -> bool:
    """Return whether the rollback of another task instance has removed this one's OBProxy server."""
    return task.status is TaskStatus.FAILED and task.obproxy_server_id is None and not task.is_check


def legal_for_task(task: TaskInstance, subtasks: Collection[Subtask]) -> list[Operation]:
    """Return the operations that a user may request for a task instance now."""
    if task.status is not TaskStatus.FAILED or read_only(task):
        return []
    prohibited = rollback_prohibited(task, subtasks)
    return [Operation.RETRY] if prohibited else [Operation.RETRY, Operation.ROLLBACK]


def legal_for_subtask(subtask: Subtask) -> list[Operation]:
    """Return the operations that a user may request for a subtask now, unless its task instance is `read_only`."""
    if subtask.status is RUNNING:
        return [Operation.CANCEL]
    return [Operation.RETRY, Operation.SKIP] if subtask.status is FAILED else []
