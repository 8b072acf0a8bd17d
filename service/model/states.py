"""States of task instances and subtasks for people: OCP's status in more detail, such as queued or rolled back.

Documents, pages and command line show the same states. OCP's `status` stays as it is.
"""

from enum import StrEnum

from service.model.tasks import BasicSubtask, Held, Operation, SubtaskStatus, TaskInstance, TaskStatus
from service.model.transitions import BACKWARD


class TaskState(StrEnum):
    """State of a task instance, which is also the state of its host in a request."""

    WAITING = "WAITING"  # its batch has not started
    NOT_STARTED = "NOT_STARTED"  # too many hosts have failed, so that it does not start
    QUEUED = "QUEUED"  # waits for a worker
    WAITING_FOR_HOST = "WAITING_FOR_HOST"  # waits for another task instance of its OBProxy cluster or host
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"
    ROLLED_BACK = "ROLLED_BACK"
    SUPERSEDED = "SUPERSEDED"  # failed, and a later task instance of its OBProxy server exists


BEFORE_RUN = frozenset({TaskState.WAITING, TaskState.NOT_STARTED, TaskState.QUEUED, TaskState.WAITING_FOR_HOST})
"""The states of a RUNNING task instance without a run."""


def task_state(
    status: TaskStatus,
    operation: Operation,
    *,
    held_by: str | None,
    superseded: bool,
    has_run: bool,
    blocked: bool = False,
) -> TaskState:
    """Return the state of a task instance; `has_run`: a run of it is in progress, `blocked`: another one must end."""
    match status:
        case TaskStatus.RUNNING:
            if held_by is not None:
                return TaskState.WAITING if held_by == Held.ROLLOUT else TaskState.NOT_STARTED
            if has_run:
                return TaskState.RUNNING
            return TaskState.WAITING_FOR_HOST if blocked else TaskState.QUEUED
        case TaskStatus.FAILED:
            return TaskState.SUPERSEDED if superseded else TaskState.FAILED
        case TaskStatus.SUCCESSFUL:
            return TaskState.ROLLED_BACK if operation is Operation.ROLLBACK else TaskState.SUCCESSFUL


def state_of(task: TaskInstance, *, blocked: bool = False) -> TaskState:
    """Return the state of `task`, see `task_state`."""
    return task_state(
        task.status,
        task.operation,
        held_by=task.held_by,
        superseded=task.superseded_by is not None,
        has_run=task.has_run,
        blocked=blocked,
    )


def subtask_state(subtask: BasicSubtask, task: TaskState) -> SubtaskStatus | TaskState:
    """Return the state of a subtask of a task instance in state `task`.

    The next subtask waits for the same as its task instance. A rolled-back subtask is PENDING for OCP.
    """
    if subtask.status is SubtaskStatus.READY and task in BEFORE_RUN:
        return task
    if subtask.status is SubtaskStatus.PENDING and subtask.operation in BACKWARD:
        return TaskState.ROLLED_BACK
    return subtask.status
