"""What callers get, as types, for the description at /openapi.json: `document` makes it, a test holds both equal.

Shapes: facts/ocp-api.md 1.2 (takeOver), 2.2 (list), 2.3 (detail), 2.4 (log), 4 (envelope). A property that may be
missing has a default; null is never sent.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.types import Operation, SubtaskStatus, TaskStatus


class Answer(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="forbid")


class SubError(Answer):
    """One bad field of a request: `field` is its path, `rejectedValue` what was sent, if it may be shown."""

    field: str
    message: str
    object: str
    rejectedValue: int | float | str | bool | None = None


class Error(Answer):
    """`code` is OCP's, 0 where it has none."""

    code: int
    message: str
    subErrors: list[SubError] | None = None


class Enveloped(Answer):
    """What every answer carries. `duration` in milliseconds."""

    duration: int
    server: str
    status: int
    successful: bool
    timestamp: datetime
    traceId: str


class Failure(Enveloped):
    """The answer to what was refused or has failed."""

    error: Error


class Success[Data](Enveloped):
    """The answer to what has worked."""

    data: Data


class Done(Enveloped):
    """The answer to what has worked and has nothing to say."""


class Contents[Element](Answer):
    """A list."""

    contents: list[Element]


class PageNumbers(Answer):
    """Which part of a list this is; `number` counts from 1."""

    number: int
    size: int
    totalElements: int
    totalPages: int


class PageOf[Element](Answer):
    """One page of a list."""

    contents: list[Element]
    page: PageNumbers


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
    """A task instance in detail."""

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
    """A task instance in the list."""

    creator: Creator
    finishTime: datetime | None = None
    hostName: str
    id: int
    name: str
    startTime: datetime
    status: TaskStatus
    subtasks: list[BasicSubtask]


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
