"""JSON objects of requests, which OCP does not have. Conventions are those of `tasks.documents`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NotRequired, TypedDict, cast

from service.model import requests as rows
from service.model.requests import RequestStatus
from service.model.states import TaskState
from service.model.tasks import Operation
from service.model.wire import Timestamp, in_order, present, timestamp, timestamp_or_none
from service.outcome import host_changes
from service.tasks.documents import Creator
from service.tasks.request_operations import Outcome


class HostCounts(TypedDict):
    """Numbers of the hosts of a request by state.

    WAITING: its batch has not started. NOT_STARTED: it does not start because too many hosts have failed. QUEUED: it
    waits for a worker. WAITING_FOR_HOST: it waits for another task instance of the host or of its OBProxy cluster.
    SUPERSEDED: it failed, and a later task instance of its OBProxy server exists.
    """

    FAILED: int
    NOT_STARTED: int
    QUEUED: int
    ROLLED_BACK: int
    RUNNING: int
    SUCCESSFUL: int
    SUPERSEDED: int
    WAITING: int
    WAITING_FOR_HOST: int


class ChangedNames(TypedDict):
    """The names of one kind that were changed on a host, or that a takeover would change after a check."""

    names: list[str]
    what: str


class ChangeSum(TypedDict):
    """The number of different names of one kind, and of the hosts that they were changed on."""

    hosts: int
    names: int
    what: str


class Finding(TypedDict):
    """The failed rules of a subtask in a check."""

    message: str
    subtask: str


class RequestHost(TypedDict):
    """A host of a request, with its task instance.

    `changes` leaves out what a rollback has undone. `findings` are those of a check, one per failed subtask.

    `subtask` is the name of the running or failed subtask, `reason` the error message of a failed one. `startTime` is
    the start of the first subtask.
    """

    changes: list[ChangedNames]
    findings: list[Finding]
    finishTime: NotRequired[Timestamp | None]
    finishedSubtasks: int
    hostId: int
    hostName: str
    operation: Operation
    reason: NotRequired[str | None]
    startTime: NotRequired[Timestamp | None]
    state: TaskState
    subtask: NotRequired[str | None]
    subtaskCount: int
    taskId: int


class Rollout(TypedDict):
    """The policy of a request; without `batchSize`, all hosts after the canary ones are one batch."""

    batchSize: NotRequired[int | None]
    canary: int
    maxFailures: int


class BasicRequest(TypedDict):
    """A request in the list: the task instances of one call. `duration` is in seconds, until now while it is RUNNING.

    STOPPED: nothing runs, and hosts do not start because too many have failed. ROLLED_BACK: no host has failed, and at
    least one was rolled back.
    """

    clusterId: int
    clusterName: str
    counts: HostCounts
    createTime: Timestamp
    creator: Creator
    duration: float
    finishTime: NotRequired[Timestamp | None]
    hostCount: int
    id: int
    rollout: NotRequired[Rollout | None]
    status: RequestStatus
    workflow: str


class Request(BasicRequest):
    """A request with its hosts, in the order of the call.

    `changes` sums up the lasting changes of all hosts. An event with only some of the hosts has none.
    """

    changes: NotRequired[list[ChangeSum] | None]
    hosts: list[RequestHost]


class OperatedHost(TypedDict):
    """A host of a request that allows an operation."""

    hostId: int
    hostName: str
    taskId: int


class RejectedHost(OperatedHost):
    """A host of a request that does not allow an operation: `code` and `message` as in an error response."""

    code: int
    message: str


class RequestOperation(TypedDict):
    """The result of an operation on a request: the hosts that allow it, and the others with the reason."""

    accepted: list[OperatedHost]
    rejected: list[RejectedHost]
    requestId: int


def operation(request_id: int, outcomes: Sequence[Outcome], translate: Callable[[str], str] = str) -> RequestOperation:
    """Return the result of an operation on a request, with messages translated by `translate`."""
    rejected: list[RejectedHost] = []
    for outcome in outcomes:
        if outcome.error is not None:
            message = {"code": outcome.error.code, "message": outcome.error.say(translate)}
            rejected.append(in_order(cast(RejectedHost, {**_operated(outcome), **message})))
    return {
        "accepted": [_operated(outcome) for outcome in outcomes if outcome.error is None],
        "rejected": rejected,
        "requestId": request_id,
    }


def _operated(outcome: Outcome) -> OperatedHost:
    return {"hostId": outcome.host.host_id, "hostName": outcome.host.host_name, "taskId": outcome.host.task_id}


def basic(request: rows.Request) -> BasicRequest:
    """Return the document of a request for the list."""
    end = request.finish_time or datetime.now(UTC)
    document: BasicRequest = {
        "clusterId": request.cluster_id,
        "clusterName": request.cluster_name,
        "counts": _counts(request),
        "createTime": timestamp(request.create_time),
        "creator": {"id": request.creator_id, "name": request.creator},
        "duration": round((end - request.create_time).total_seconds(), 3),
        "finishTime": timestamp_or_none(request.finish_time),
        "hostCount": request.hosts,
        "id": request.id,
        "rollout": _rollout(request),
        "status": request.status,
        "workflow": request.workflow,
    }
    return present(document)


def detail(request: rows.Request, hosts: Sequence[rows.RequestHost]) -> Request:
    """Return the document of a request with `hosts`: all of them, or those that have changed."""
    changes = _sums(hosts) if len(hosts) == request.hosts else None
    document: Request = {**basic(request), "changes": changes, "hosts": [_host(host) for host in hosts]}
    return in_order(present(document))


def _sums(hosts: Sequence[rows.RequestHost]) -> list[ChangeSum]:
    sums = host_changes.summed(host.changes for host in hosts)
    return [{"hosts": each.hosts, "names": each.names, "what": each.what} for each in sums]


def _rollout(request: rows.Request) -> Rollout | None:
    policy = request.rollout
    if policy is None:
        return None
    document: Rollout = {
        "batchSize": policy.batch_size,
        "canary": policy.canary,
        "maxFailures": policy.max_failures,
    }
    return present(document)


def _counts(request: rows.Request) -> HostCounts:
    counts = request.counts
    return {
        "FAILED": counts[TaskState.FAILED],
        "NOT_STARTED": counts[TaskState.NOT_STARTED],
        "QUEUED": counts[TaskState.QUEUED],
        "ROLLED_BACK": counts[TaskState.ROLLED_BACK],
        "RUNNING": counts[TaskState.RUNNING],
        "SUCCESSFUL": counts[TaskState.SUCCESSFUL],
        "SUPERSEDED": counts[TaskState.SUPERSEDED],
        "WAITING": counts[TaskState.WAITING],
        "WAITING_FOR_HOST": counts[TaskState.WAITING_FOR_HOST],
    }


def _host(host: rows.RequestHost) -> RequestHost:
    names = host_changes.lasting_names(host.changes)
    document: RequestHost = {
        "changes": [{"names": names[what], "what": what} for what in names],
        "findings": [{"message": found.message, "subtask": found.subtask} for found in host.findings],
        "finishTime": timestamp_or_none(host.finish_time),
        "finishedSubtasks": host.done,
        "hostId": host.host_id,
        "hostName": host.host_name,
        "operation": host.operation,
        "reason": host.reason or None,
        "startTime": timestamp_or_none(host.start_time),
        "state": host.state,
        "subtask": host.subtask or None,
        "subtaskCount": host.subtasks,
        "taskId": host.task_id,
    }
    return present(document)
