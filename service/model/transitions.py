"""Which position follows which: the pure half of the task engine (docs/reference/task-engine.md 3.2). SQL refuses the
rest again.

A subtask's position is its status and operation. What the reference engine does wrong is not copied: a retry while
rolling back goes on rolling back instead of turning forward (3.6), and a task instance that goes on has no finish time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import product

from service.model.tasks import EXTERNAL, Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus

Position = tuple[SubtaskStatus, Operation]

PENDING, READY, RUNNING = SubtaskStatus.PENDING, SubtaskStatus.READY, SubtaskStatus.RUNNING
CANCELING, FAILED, SUCCESSFUL = SubtaskStatus.CANCELING, SubtaskStatus.FAILED, SubtaskStatus.SUCCESSFUL

UNFINISHED = frozenset({RUNNING, CANCELING})
FORWARD = (Operation.EXECUTE, Operation.RETRY)
BACKWARD = (Operation.ROLLBACK, Operation.ROLLBACK_SKIP)
SKIPPED = (Operation.SKIP, Operation.ROLLBACK_SKIP)


class Trigger(StrEnum):
    """What moves a subtask."""

    PROMOTE = "promote"  # E12: all its upstreams are SUCCESSFUL
    UNWIND = "unwind"  # U3, E13: all its downstreams are PENDING, so it is its turn to be rolled back
    START = "start"  # E1: the run has reached its role
    SUCCEED = "succeed"  # E2 to E5: forward it is SUCCESSFUL then, backward PENDING
    FAIL = "fail"  # E6 to E8
    CANCELED = "canceled"  # E10: the run was ended because somebody asked for it
    HAND_BACK = "hand back"  # its worker is being stopped: the next one starts it again
    RETRY = "retry"  # U2, U4
    RETRY_ROLLBACK = "retry rollback"  # the same while the task instance is being rolled back
    SKIP = "skip"  # U5
    SKIP_ROLLBACK = "skip rollback"
    CANCEL = "cancel"  # U6
    ROLLBACK = "rollback"  # U3: it is to be rolled back when its turn comes


def _rules() -> Iterable[tuple[Iterable[SubtaskStatus], Iterable[Operation], Trigger, Position | SubtaskStatus]]:
    """From any of these statuses with any of these operations, by a trigger, to a status or another position."""
    everything = tuple(Operation)
    yield (PENDING,), everything, Trigger.PROMOTE, READY
    yield (READY, FAILED, SUCCESSFUL), (Operation.ROLLBACK,), Trigger.UNWIND, READY
    yield (READY,), everything, Trigger.START, RUNNING
    yield (RUNNING, CANCELING), (*FORWARD, Operation.SKIP), Trigger.SUCCEED, SUCCESSFUL
    yield (RUNNING, CANCELING), BACKWARD, Trigger.SUCCEED, PENDING
    # READY too: a run that never reached the role it was started for has failed that subtask all the same.
    yield (READY, RUNNING), everything, Trigger.FAIL, FAILED
    yield (CANCELING,), everything, Trigger.FAIL, (FAILED, Operation.CANCEL)
    yield (READY, RUNNING, CANCELING), everything, Trigger.CANCELED, (FAILED, Operation.CANCEL)
    yield (RUNNING,), everything, Trigger.HAND_BACK, READY
    yield (FAILED,), everything, Trigger.RETRY, (READY, Operation.RETRY)
    yield (FAILED,), everything, Trigger.RETRY_ROLLBACK, (READY, Operation.ROLLBACK)
    yield (FAILED,), everything, Trigger.SKIP, (READY, Operation.SKIP)
    yield (FAILED,), everything, Trigger.SKIP_ROLLBACK, (READY, Operation.ROLLBACK_SKIP)
    yield (RUNNING,), everything, Trigger.CANCEL, CANCELING
    for status in (READY, FAILED, SUCCESSFUL):
        yield (status,), everything, Trigger.ROLLBACK, (status, Operation.ROLLBACK)


TRANSITIONS: Mapping[tuple[Position, Trigger], Position] = {
    ((status, operation), trigger): after if isinstance(after, tuple) else (after, operation)
    for statuses, operations, trigger, after in _rules()
    for status, operation in product(statuses, operations)
}


def allowed(trigger: Trigger) -> list[SubtaskStatus]:
    """The statuses from which `trigger` can move a subtask at all."""
    return [status for status in SubtaskStatus if any(p[0] is status and t is trigger for p, t in TRANSITIONS)]


def promotable(subtasks: Collection[Subtask]) -> list[int]:
    """Ids of the PENDING subtasks whose upstreams are all SUCCESSFUL."""
    done = {subtask.id for subtask in subtasks if subtask.status is SUCCESSFUL}
    return [s.id for s in subtasks if s.status is PENDING and done.issuperset(s.upstreams)]


def last_begun(subtasks: Collection[Subtask]) -> list[Subtask]:
    """The subtasks that are not PENDING and whose downstreams all are: where rolling back goes on."""
    undone = {subtask.id for subtask in subtasks if subtask.status is PENDING}
    return [s for s in subtasks if s.status is not PENDING and undone.issuperset(s.downstreams)]


def unwindable(subtasks: Collection[Subtask]) -> list[int]:
    """Ids of the subtasks that waited for their turn to be rolled back, and have it now."""
    return [s.id for s in last_begun(subtasks) if s.status is SUCCESSFUL and s.operation is Operation.ROLLBACK]


def task_status(operation: Operation, statuses: Collection[SubtaskStatus]) -> TaskStatus:
    """What its subtasks make of a task instance (E12 to E14): it fails once nothing of it runs any more."""
    goal = PENDING if operation is Operation.ROLLBACK else SUCCESSFUL
    if all(status is goal for status in statuses):
        return TaskStatus.SUCCESSFUL
    if FAILED in statuses and UNFINISHED.isdisjoint(statuses) and READY not in statuses:
        return TaskStatus.FAILED
    return TaskStatus.RUNNING


def to_run(operation: Operation, subtasks: Sequence[Subtask]) -> list[Subtask]:
    """What a run of a task instance still has to do, in the order it has to do it. `subtasks` are in DAG order."""
    if operation is Operation.ROLLBACK:
        return [subtask for subtask in reversed(subtasks) if subtask.status is not PENDING]
    return [subtask for subtask in subtasks if subtask.status is not SUCCESSFUL]


def rollback_prohibited(task: TaskInstance, subtasks: Collection[Subtask]) -> bool:
    """Whether what was already done must not be undone (docs/reference/task-engine.md 3.4)."""
    begun = [subtask for subtask in subtasks if subtask.status not in (PENDING, READY)]
    return task.prohibit_rollback or any(subtask.prohibit_rollback for subtask in begun)


def read_only(task: TaskInstance) -> bool:
    """Whether nothing may be asked of a task instance any more."""
    return is_external(task) or task.superseded_by is not None or _is_bereft(task)


def is_external(task: TaskInstance) -> bool:
    """Whether the run of a task instance was started by hand."""
    return task.type == EXTERNAL


def _is_bereft(task: TaskInstance) -> bool:
    """Whether another rollback than its own has removed the OBProxy server of a failed task instance."""
    return task.status is TaskStatus.FAILED and task.obproxy_server_id is None


def legal_for_task(task: TaskInstance, subtasks: Collection[Subtask]) -> list[Operation]:
    """What a person may ask of a task instance now."""
    if task.status is not TaskStatus.FAILED or read_only(task):
        return []
    prohibited = rollback_prohibited(task, subtasks)
    return [Operation.RETRY] if prohibited else [Operation.RETRY, Operation.ROLLBACK]


def legal_for_subtask(subtask: Subtask) -> list[Operation]:
    """What a person may ask of a subtask now, if its task instance may be asked anything (`read_only`)."""
    if subtask.status is RUNNING:
        return [Operation.CANCEL]
    return [Operation.RETRY, Operation.SKIP] if subtask.status is FAILED else []
