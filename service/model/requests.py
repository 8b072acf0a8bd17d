"""Records of requests: the task instances of one call, their policy, and the state of each host."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.model.rollout import Rollout
from service.model.tasks import Operation, TaskInstance, TaskStatus


class HostState(StrEnum):
    """State of a task instance, and of its host in a request: its status in more detail, in the words for people."""

    WAITING = "WAITING"  # its batch has not started
    NOT_STARTED = "NOT_STARTED"  # too many hosts have failed, so that it does not start
    QUEUED = "QUEUED"  # waits for a worker
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"
    ROLLED_BACK = "ROLLED_BACK"
    SUPERSEDED = "SUPERSEDED"  # failed, and a later task instance of its OBProxy server exists


class RequestStatus(StrEnum):
    """State of a request. STOPPED: nothing runs, and some hosts do not start because too many have failed."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"
    ROLLED_BACK = "ROLLED_BACK"


class Held(StrEnum):
    """The reason for a held task instance: its batch has not started, or too many hosts of its request have failed."""

    ROLLOUT = "ROLLOUT"
    MAX_FAILURES = "MAX_FAILURES"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, with the numbers of its hosts by state."""

    id: int
    workflow: str
    cluster_id: int
    cluster_name: str
    creator: str
    creator_id: int
    rollout: Rollout | None
    create_time: datetime
    counts: Mapping[HostState, int]
    last_end: datetime | None  # of a task instance

    @property
    def status(self) -> RequestStatus:
        """The status of the request, from the states of its hosts."""
        return status_of(self.counts)

    @property
    def hosts(self) -> int:
        """The number of hosts."""
        return sum(self.counts.values())

    @property
    def finish_time(self) -> datetime | None:
        """The time at which the last host has ended; None while the request is RUNNING."""
        return None if self.status is RequestStatus.RUNNING else self.last_end


@dataclass(frozen=True, kw_only=True)
class RequestHost:
    """One host of a request, with its task instance."""

    host_id: int
    host_name: str
    task_id: int
    state: HostState
    operation: Operation
    start_time: datetime | None  # of its first subtask
    finish_time: datetime | None
    done: int  # successful subtasks
    subtasks: int
    subtask: str  # name of the running or failed subtask; empty = there is none
    reason: str  # error message of the failed subtask; empty = none has failed


def host_state(
    status: TaskStatus, operation: Operation, *, held_by: str | None, superseded: bool, has_run: bool
) -> HostState:
    """Return the state of a host from its task instance; `has_run`: a run of it is in progress."""
    match status:
        case TaskStatus.RUNNING:
            if held_by is not None:
                return HostState.WAITING if held_by == Held.ROLLOUT else HostState.NOT_STARTED
            return HostState.RUNNING if has_run else HostState.QUEUED
        case TaskStatus.FAILED:
            return HostState.SUPERSEDED if superseded else HostState.FAILED
        case TaskStatus.SUCCESSFUL:
            return HostState.ROLLED_BACK if operation is Operation.ROLLBACK else HostState.SUCCESSFUL


def task_state(task: TaskInstance) -> HostState:
    """Return the state of a task instance."""
    superseded = task.superseded_by is not None
    return host_state(task.status, task.operation, held_by=task.held_by, superseded=superseded, has_run=task.has_run)


def status_of(counts: Mapping[HostState, int]) -> RequestStatus:
    """Return the status of a request whose hosts have these states."""
    found = {state for state, number in Counter(counts).items() if number}
    if found & {HostState.WAITING, HostState.QUEUED, HostState.RUNNING}:
        return RequestStatus.RUNNING
    if HostState.NOT_STARTED in found:
        return RequestStatus.STOPPED
    if found & {HostState.FAILED, HostState.SUPERSEDED}:
        return RequestStatus.FAILED
    return RequestStatus.ROLLED_BACK if HostState.ROLLED_BACK in found else RequestStatus.SUCCESSFUL
