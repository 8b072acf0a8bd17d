"""Which state follows which: the pure half of the task engine (facts/ocp-api.md 3.2). SQL refuses the rest again."""

from collections.abc import Collection, Mapping
from enum import StrEnum

from service.types import Subtask, SubtaskStatus, TaskStatus

UNFINISHED = frozenset({SubtaskStatus.RUNNING, SubtaskStatus.CANCELING})


class Trigger(StrEnum):
    """What moves a subtask."""

    PROMOTE = "promote"  # E12: all its upstreams are SUCCESSFUL
    START = "start"  # E1: the run has reached its role
    SUCCEED = "succeed"  # E2
    FAIL = "fail"  # E6, E7, E8


TRANSITIONS: Mapping[tuple[SubtaskStatus, Trigger], SubtaskStatus] = {
    (SubtaskStatus.PENDING, Trigger.PROMOTE): SubtaskStatus.READY,
    (SubtaskStatus.READY, Trigger.START): SubtaskStatus.RUNNING,
    (SubtaskStatus.RUNNING, Trigger.SUCCEED): SubtaskStatus.SUCCESSFUL,
    (SubtaskStatus.RUNNING, Trigger.FAIL): SubtaskStatus.FAILED,
    # A run that never reached the role it was started for: the failure is that subtask's all the same.
    (SubtaskStatus.READY, Trigger.FAIL): SubtaskStatus.FAILED,
}


def sources(trigger: Trigger) -> frozenset[SubtaskStatus]:
    """The states a subtask may be in for `trigger` to move it."""
    return frozenset(status for status, by in TRANSITIONS if by is trigger)


def target(trigger: Trigger) -> SubtaskStatus:
    """The state `trigger` moves a subtask to: the same from wherever it comes."""
    return next(after for (_, by), after in TRANSITIONS.items() if by is trigger)


def promotable(subtasks: Collection[Subtask]) -> list[int]:
    """Ids of the PENDING subtasks whose upstreams are all SUCCESSFUL."""
    done = {subtask.id for subtask in subtasks if subtask.status is SubtaskStatus.SUCCESSFUL}
    return [s.id for s in subtasks if s.status is SubtaskStatus.PENDING and done.issuperset(s.upstreams)]


def task_status(statuses: Collection[SubtaskStatus]) -> TaskStatus:
    """What the states of its subtasks make of a task instance (E12, E14): it fails once nothing of it runs any more."""
    if all(status is SubtaskStatus.SUCCESSFUL for status in statuses):
        return TaskStatus.SUCCESSFUL
    if SubtaskStatus.FAILED in statuses and UNFINISHED.isdisjoint(statuses):
        return TaskStatus.FAILED
    return TaskStatus.RUNNING
