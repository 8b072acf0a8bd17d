"""OCP's JSON objects of task instances: their types, from which the OpenAPI document is made, and their construction.

Properties are in alphabetical order. A property marked `NotRequired` is left out when it is None.
Shapes and null rules: docs/reference/ocp-api.md 1.2 (takeOver), 2.2 (list), 2.3 (detail).
"""

from collections.abc import Collection
from typing import Literal, NotRequired, TypedDict

from service.model import tasks as rows
from service.model import transitions
from service.model.changes import RecordedChange, changes_of
from service.model.states import TaskState, subtask_state
from service.model.tasks import Held, Operation, SubtaskStatus, TaskStatus
from service.model.wire import Timestamp, in_order, present, timestamp, timestamp_or_none
from service.tasks.waiting import Progress


class Context(TypedDict):
    """Parameters of a task instance; all values of `stringMap` are strings."""

    listMap: dict[str, list[str]]
    parallel: bool
    parallelIdx: int
    stringMap: dict[str, str]


class Submitted(TypedDict):
    """Properties of a subtask from its submission on. `timeout` is in seconds, 0 = none."""

    description: str
    downstreams: list[int]
    id: int
    name: str
    nodeType: Literal["JAVA_TASK"]
    operation: Operation
    parallelIdx: int
    prohibitRollback: bool
    runTime: int
    seriesId: int
    status: SubtaskStatus
    timeout: int
    upstreams: list[int]


class SubmittedSubtask(Submitted):
    """A subtask in the response of takeOver."""

    className: str


class Change(TypedDict):
    """A change on the host by one execution of a subtask. Beyond OCP.

    `what` is parameter, password, file, directory, record, package, process or a role's own kind. `before` or `after`
    is missing when it does not exist; a secret value is `***`. With `needsRestart`, it acts only after a restart.
    """

    after: NotRequired[str | None]
    before: NotRequired[str | None]
    name: str
    needsRestart: bool
    operation: Operation
    runTime: int
    what: str


class SubtaskInstance(Submitted):
    """A subtask in the responses of the task API. Beyond OCP: `changes` of all its executions, in their order.

    `state` is the status in more detail: the next subtask of a task instance that waits has its state, and a subtask
    that was rolled back is ROLLED_BACK.
    """

    changes: list[Change]
    createTime: Timestamp
    executor: NotRequired[str | None]
    finishTime: NotRequired[Timestamp | None]
    operations: list[Operation]
    startTime: NotRequired[Timestamp | None]
    state: SubtaskStatus | TaskState


class TaskInstance(TypedDict):
    """A task instance in the response of takeOver: `creator` is a string; subtasks carry `className`."""

    context: Context
    creator: str
    executor: str
    hostId: int
    id: int
    name: str
    operation: Operation
    startTime: Timestamp
    status: TaskStatus
    subtasks: list[SubmittedSubtask]
    taskDefinitionId: int
    type: str


class Creator(TypedDict):
    """The user who submitted the task instance."""

    id: int
    name: str


class WrappedTaskInstance(TypedDict):
    """A task instance in detail: `creator` is an object, there is no `context`, and subtasks carry their times.

    Beyond OCP: `heldBy` is why it does not start yet: ROLLOUT (its batch has not started) or MAX_FAILURES (too many
    hosts of its request have failed; retry the request to resume it). `hostName` is the host's name. `obproxyServerId`
    is its OBProxy server, also after that was released; a check has none. `operations` lists the operations that are
    allowed now, of the task instance and of each subtask. `requestId` is the request that it
    belongs to; task instances of the same call share it. `state` is the status in more detail: QUEUED (waits for a
    worker), WAITING_FOR_HOST (waits for other task instances), WAITING (its batch has not started), NOT_STARTED (too
    many hosts have failed), ROLLED_BACK or SUPERSEDED. `waitsFor` lists the task instances that must end before this
    one starts, `waitsForHosts` their hosts. `supersededBy` is the next task instance of the same OBProxy server; then
    this one allows no operation.
    """

    createTime: Timestamp
    creator: Creator
    executor: str
    finishTime: NotRequired[Timestamp | None]
    heldBy: NotRequired[Held | None]
    hostName: str
    id: int
    name: str
    obproxyServerId: NotRequired[int | None]
    operation: Operation
    operations: list[Operation]
    prohibitRollback: bool
    requestId: NotRequired[int | None]
    startTime: Timestamp
    state: TaskState
    status: TaskStatus
    subtasks: list[SubtaskInstance]
    supersededBy: NotRequired[int | None]
    taskDefinitionId: int
    type: str
    waitsFor: NotRequired[list[int] | None]
    waitsForHosts: NotRequired[list[str] | None]


class BasicSubtask(TypedDict):
    """A subtask in the list of task instances."""

    description: str
    id: int
    name: str
    operation: Operation
    status: SubtaskStatus


class BasicTaskInstance(TypedDict):
    """A task instance in the list. Beyond OCP: `heldBy`, `hostName`, `requestId`, `state`, `supersededBy`."""

    creator: Creator
    finishTime: NotRequired[Timestamp | None]
    heldBy: NotRequired[Held | None]
    hostName: str
    id: int
    name: str
    requestId: NotRequired[int | None]
    startTime: Timestamp
    state: TaskState
    status: TaskStatus
    subtasks: list[BasicSubtask]
    supersededBy: NotRequired[int | None]


def task_instance(task: rows.TaskInstance, subtasks: Collection[rows.Subtask]) -> TaskInstance:
    """Return the document of a task instance for takeOver."""
    return {
        "context": {
            "listMap": dict(sorted(task.context["listMap"].items())),
            "parallel": False,
            "parallelIdx": -1,
            "stringMap": dict(sorted(task.context["stringMap"].items())),
        },
        "creator": task.creator,
        "executor": task.executor,
        "hostId": task.host_id,
        "id": task.id,
        "name": task.name,
        "operation": task.operation,
        "startTime": timestamp(task.start_time),
        "status": task.status,
        "subtasks": [{"className": s.class_name, **_submitted(s)} for s in subtasks],
        "taskDefinitionId": task.task_definition_id,
        "type": task.type,
    }


def wrapped(task: rows.TaskInstance, subtasks: Collection[rows.Subtask], progress: Progress) -> WrappedTaskInstance:
    """Return the detailed document of a task instance."""
    document: WrappedTaskInstance = {
        "createTime": timestamp(task.create_time.replace(microsecond=0)),
        "creator": {"id": task.creator_id, "name": task.creator},
        "executor": task.executor,
        "finishTime": timestamp_or_none(task.finish_time),
        "heldBy": None if task.held_by is None else Held(task.held_by),
        "hostName": task.host_name,
        "id": task.id,
        "name": task.name,
        "obproxyServerId": task.former_server_id,
        "operation": task.operation,
        "operations": transitions.legal_for_task(task, subtasks),
        "prohibitRollback": task.prohibit_rollback,
        "requestId": task.request_id,
        "startTime": timestamp(task.start_time),
        "state": progress.state,
        "status": task.status,
        "subtasks": [subtask(s, progress.state, read_only=transitions.read_only(task)) for s in subtasks],
        "supersededBy": task.superseded_by,
        "taskDefinitionId": task.task_definition_id,
        "type": task.type,
        "waitsFor": [blocker.id for blocker in progress.waits_for] or None,
        "waitsForHosts": [blocker.host_name for blocker in progress.waits_for] or None,
    }
    return present(document)


def basic(task: rows.TaskInstance, subtasks: Collection[rows.BasicSubtask], state: TaskState) -> BasicTaskInstance:
    """Return the document of a task instance for the list."""
    document: BasicTaskInstance = {
        "creator": {"id": task.creator_id, "name": task.creator},
        "finishTime": timestamp_or_none(task.finish_time),
        "heldBy": None if task.held_by is None else Held(task.held_by),
        "hostName": task.host_name,
        "id": task.id,
        "name": task.name,
        "requestId": task.request_id,
        "startTime": timestamp(task.start_time),
        "state": state,
        "status": task.status,
        "subtasks": [
            {
                "description": s.description,
                "id": s.id,
                "name": s.name,
                "operation": s.operation,
                "status": s.status,
            }
            for s in subtasks
        ],
        "supersededBy": task.superseded_by,
    }
    return present(document)


def subtask(row: rows.Subtask, task: TaskState, *, read_only: bool = False) -> SubtaskInstance:
    """Return the document of a subtask of a task instance in state `task`; with `read_only`, it allows no operation."""
    document: SubtaskInstance = {
        "changes": changes(row),
        "createTime": timestamp(row.create_time.replace(microsecond=0)),
        "executor": row.executor,
        "finishTime": timestamp_or_none(row.finish_time),
        "operations": [] if read_only else transitions.legal_for_subtask(row),
        "startTime": timestamp_or_none(row.start_time),
        "state": subtask_state(row, task),
        **_submitted(row),
    }
    return in_order(present(document))


def changes(row: rows.Subtask) -> list[Change]:
    """Return the documents of the changes of a subtask."""
    return [_change(change) for change in changes_of(row)]


def _change(change: RecordedChange) -> Change:
    document: Change = {
        "after": change.after,
        "before": change.before,
        "name": change.name,
        "needsRestart": change.needs_restart,
        "operation": change.operation,
        "runTime": change.run_time,
        "what": change.what,
    }
    return present(document)


def _submitted(row: rows.Subtask) -> Submitted:
    """Return the properties that a subtask has from its submission on."""
    return {
        "description": row.description,
        "downstreams": list(row.downstreams),
        "id": row.id,
        "name": row.name,
        "nodeType": row.node_type,
        "operation": row.operation,
        "parallelIdx": row.parallel_idx,
        "prohibitRollback": row.prohibit_rollback,
        "runTime": row.run_time,
        "seriesId": row.series_id,
        "status": row.status,
        "timeout": row.timeout,
        "upstreams": list(row.upstreams),
    }
