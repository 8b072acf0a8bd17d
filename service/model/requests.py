"""Records of requests: the task instances of one call, their policy, and the state of each host."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.model.changes import RecordedChange
from service.model.rollout import Rollout
from service.model.states import TaskState
from service.model.tasks import Operation
from service.model.types import NEWEST_FIRST, Order


class RequestStatus(StrEnum):
    """State of a request. STOPPED: nothing runs, and some hosts do not start because too many have failed."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"
    ROLLED_BACK = "ROLLED_BACK"


ACTIVE = frozenset({TaskState.WAITING, TaskState.QUEUED, TaskState.WAITING_FOR_HOST, TaskState.RUNNING})
"""The states of hosts that go on without an operation."""


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
    counts: Mapping[TaskState, int]
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
class RequestFilter:
    """Filter of a list of requests; None = no filter."""

    workflow: str | None = None
    statuses: Sequence[RequestStatus] | None = None
    host_id: int | None = None
    host_name: str | None = None  # substring, as cluster and creator
    cluster: str | None = None  # name of the OBProxy cluster
    creator: str | None = None
    start_after: datetime | None = None
    start_before: datetime | None = None
    order: Order = NEWEST_FIRST


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The failed rules of a subtask in a check."""

    subtask: str
    message: str


@dataclass(frozen=True, kw_only=True)
class RequestHost:
    """One host of a request, with its task instance."""

    host_id: int
    host_name: str
    task_id: int
    state: TaskState
    operation: Operation
    start_time: datetime | None  # of its first subtask
    finish_time: datetime | None
    done: int  # successful subtasks
    subtasks: int
    subtask: str  # name of the running or failed subtask; empty = there is none
    reason: str  # error message of the failed subtask; empty = none has failed
    findings: Sequence[Finding] = ()  # of a check, one per failed subtask
    changes: Sequence[RecordedChange] = ()  # of all subtasks, in their order


def status_of(counts: Mapping[TaskState, int]) -> RequestStatus:
    """Return the status of a request whose hosts have these states."""
    found = {state for state, number in Counter(counts).items() if number}
    if found & ACTIVE:
        return RequestStatus.RUNNING
    if TaskState.NOT_STARTED in found:
        return RequestStatus.STOPPED
    if found & {TaskState.FAILED, TaskState.SUPERSEDED}:
        return RequestStatus.FAILED
    return RequestStatus.ROLLED_BACK if TaskState.ROLLED_BACK in found else RequestStatus.SUCCESSFUL
