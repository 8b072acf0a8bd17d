"""What callers get, as types, for the description at /openapi.json: `document` makes it, a test holds both equal.

Shapes: docs/reference/ocp-api.md 1.2 (takeOver), 2.2 (list), 2.3 (detail), 2.4 (log), 4 (envelope). A property that may
be missing has a default; null is never sent.
"""

from datetime import datetime
from typing import Literal

from service.http.envelope_schema import Answer
from service.model.tasks import Operation, SubtaskStatus, TaskStatus


class Context(Answer):
    """What a task instance carries along; all values of `stringMap` are strings."""

    listMap: dict[str, list[str]]
    parallel: bool
    parallelIdx: int
    stringMap: dict[str, str]


class Submitted(Answer):
    """What a subtask has from the moment it is submitted. `timeout` in seconds, 0 = none."""

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
    """A subtask as takeOver answers it."""

    className: str


class SubtaskInstance(Submitted):
    """A subtask as the task API answers it."""

    createTime: datetime
    executor: str | None = None
    finishTime: datetime | None = None
    operations: list[Operation]
    startTime: datetime | None = None


class TaskInstance(Answer):
    """One takeover of one host as takeOver answers it."""

    context: Context
    creator: str
    executor: str
    hostId: int
    id: int
    name: str
    operation: Operation
    startTime: datetime
    status: TaskStatus
    subtasks: list[SubmittedSubtask]
    taskDefinitionId: int
    type: str


class Creator(Answer):
    """Who has asked for it."""

    id: int
    name: str


class WrappedTaskInstance(Answer):
    """A task instance in detail. `supersededBy` is the next one of the same OBProxy server: only that one may go on."""

    createTime: datetime
    creator: Creator
    executor: str
    finishTime: datetime | None = None
    hostName: str
    id: int
    name: str
    operation: Operation
    operations: list[Operation]
    prohibitRollback: bool
    startTime: datetime
    status: TaskStatus
    subtasks: list[SubtaskInstance]
    supersededBy: int | None = None
    taskDefinitionId: int
    type: str
    waitsFor: list[int] | None = None


class BasicSubtask(Answer):
    """A subtask in the list of task instances."""

    description: str
    id: int
    name: str
    operation: Operation
    status: SubtaskStatus


class BasicTaskInstance(Answer):
    """A task instance in the list. `supersededBy` is the next one of the same OBProxy server."""

    creator: Creator
    finishTime: datetime | None = None
    hostName: str
    id: int
    name: str
    startTime: datetime
    status: TaskStatus
    subtasks: list[BasicSubtask]
    supersededBy: int | None = None


class SubtaskLog(Answer):
    """All a subtask's runs have said so far; `next` is the `after` of the next call, sent when this one had one."""

    log: str
    next: int | None = None


class AuditEvent(Answer):
    """A call that was to change something. `userName` is missing when nobody was proved; `calls` counts those then."""

    calls: int
    client: str
    id: int
    method: str
    path: str
    status: int
    time: datetime
    traceId: str
    userName: str | None = None


class Info(Answer):
    """What this service is."""

    buildVersion: str
    name: str
    server: str
