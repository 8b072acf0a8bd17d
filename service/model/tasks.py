"""Records of task instances and subtasks: frozen objects with the column names of their database rows.

Names are OCP's (docs/reference/ocp-api.md 1.2, docs/reference/task-engine.md 3.1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from service.model.types import NEWEST_FIRST, Order


class TaskStatus(StrEnum):
    """State of a task instance."""

    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"


ALLOW_RESTART = "obproxy_allow_restart"
"""The inventory variable that permits restarts, and the key in a context whose request permits or forbids them."""


ALLOW_COLD_RESTART = "obproxy_allow_cold_restart"
"""The variable and the key in a context whose request permits a restart that disconnects clients."""


RESTART_ID = "obproxy_restart_id"
"""The variable and the key in a context that identifies a restart, also for a database that was made anew."""


SKIP_HOST = "skip_host_operation"
"""The key of a context whose request leaves the host out: all of its subtasks are skipped."""


CHECK_MODE = "check_mode"
"""The key of a context whose runs are in check mode: they change nothing, and a failed subtask does not end them."""


SQL_PORT = "sql_port"
"""The key of a context with the SQL port of an OBProxy that has no OBProxy server."""


EXTERNAL = "EXTERNAL"
"""The type of a task instance that records a run by hand. OCP's types are MANUAL and others."""


class Held(StrEnum):
    """The reason for a held task instance: its batch has not started, or too many hosts of its request have failed."""

    ROLLOUT = "ROLLOUT"
    MAX_FAILURES = "MAX_FAILURES"


class SubtaskStatus(StrEnum):
    """State of a subtask; FAILED and SUCCESSFUL are terminal."""

    PENDING = "PENDING"
    READY = "READY"
    RUNNING = "RUNNING"
    CANCELING = "CANCELING"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"


class Operation(StrEnum):
    """The current operation of a task instance or subtask."""

    EXECUTE = "EXECUTE"
    RETRY = "RETRY"
    ROLLBACK = "ROLLBACK"
    SKIP = "SKIP"
    ROLLBACK_SKIP = "ROLLBACK_SKIP"
    CANCEL = "CANCEL"


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One workflow on one host."""

    id: int
    workflow: str
    name: str
    type: str
    status: TaskStatus
    operation: Operation
    creator: str
    creator_id: int
    executor: str
    host_id: int
    host_name: str
    obproxy_server_id: int | None  # None once the OBProxy server was deleted
    context: Mapping[str, Any]  # {"listMap": {str: [str]}, "stringMap": {str: str}}
    prohibit_rollback: bool
    task_definition_id: int
    trace_id: str
    create_time: datetime
    start_time: datetime
    finish_time: datetime | None
    superseded_by: int | None = None  # the next task instance of the same OBProxy server
    request_id: int | None = None  # None for a run by hand
    held_by: str | None = None  # why its job is held, see `Held`
    has_run: bool = False  # a run of it is in progress

    @property
    def former_server_id(self) -> int | None:
        """The id of its OBProxy server, also once that was deleted; None = it never had one."""
        found = self.context["stringMap"].get("obproxy_server_id")
        return int(found) if found else None

    @property
    def skips_host(self) -> bool:
        """True if the request skips the work on the host."""
        return bool(self.context["stringMap"].get(SKIP_HOST) == "true")

    @property
    def is_check(self) -> bool:
        """True if its runs are in check mode."""
        return bool(self.context["stringMap"].get(CHECK_MODE) == "true")

    @property
    def allow_restart(self) -> bool | None:
        """The permission of the request to restart the OBProxy; None = the inventory decides."""
        value = self.context["stringMap"].get(ALLOW_RESTART)
        return None if value is None else value == "true"

    @property
    def allows_cold_restart(self) -> bool:
        """True if the request permits a restart that disconnects clients."""
        return bool(self.context["stringMap"].get(ALLOW_COLD_RESTART) == "true")


@dataclass(frozen=True, kw_only=True)
class BasicSubtask:
    """The fields of a subtask in a list of task instances."""

    id: int
    task_instance_id: int
    name: str
    description: str
    status: SubtaskStatus
    operation: Operation


@dataclass(frozen=True, kw_only=True)
class Subtask(BasicSubtask):
    """One step of a task instance, executed by one role."""

    role: str
    series_id: int
    class_name: str
    node_type: Literal["JAVA_TASK"]
    parallel_idx: int
    prohibit_rollback: bool
    run_time: int  # number of the execution, from 1
    timeout: int  # seconds; 0 = no limit
    executor: str | None
    create_time: datetime
    start_time: datetime | None
    finish_time: datetime | None
    upstreams: Sequence[int]  # ids of the subtasks that must be SUCCESSFUL before this one is READY
    downstreams: Sequence[int]
    spent: float = 0.0  # seconds of its time limit that requeued runs have used
    changes: Sequence[Mapping[str, Any]] | None = None  # on the host, of all executions: fields of RecordedChange


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """Filter of a list of task instances; None = no filter."""

    name: str | None = None  # substring
    statuses: Sequence[TaskStatus] | None = None
    type: str | None = None
    host_id: int | None = None
    host_name: str | None = None  # substring, as cluster and creator
    cluster: str | None = None  # name of the OBProxy cluster
    creator: str | None = None
    start_after: datetime | None = None
    start_before: datetime | None = None
    superseded: bool | None = None
    held: bool | None = None
    held_by: Held | None = None
    rolled_back: bool | None = None
    ids: Sequence[int] | None = None
    order: Order = NEWEST_FIRST
