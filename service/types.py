"""The records that cross module borders: rows of the database as frozen objects, and the words their columns hold.

Words and fields are OCP's (facts/ocp-api.md 1.2 and 3.1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

JSON = dict[str, Any]


class TaskStatus(StrEnum):
    """State of a task instance."""

    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"


ALLOW_RESTART = "obproxy_allow_restart"
"""The variable of the inventory that gives consent, and the key of a context whose request says something about it."""

EXTERNAL = "EXTERNAL"
"""The type of a task instance that records what somebody ran by hand; OCP's have MANUAL and others."""


class SubtaskStatus(StrEnum):
    """State of a subtask; FAILED and SUCCESSFUL are terminal."""

    PENDING = "PENDING"
    READY = "READY"
    RUNNING = "RUNNING"
    CANCELING = "CANCELING"
    FAILED = "FAILED"
    SUCCESSFUL = "SUCCESSFUL"


class Operation(StrEnum):
    """What is being done to a task instance or subtask."""

    EXECUTE = "EXECUTE"
    RETRY = "RETRY"
    ROLLBACK = "ROLLBACK"
    SKIP = "SKIP"
    ROLLBACK_SKIP = "ROLLBACK_SKIP"
    CANCEL = "CANCEL"


class ServerStatus(StrEnum):
    """State of an OBProxy server (facts/ocp-api.md 1.4)."""

    CREATING = "CREATING"
    RUNNING = "RUNNING"
    RESTARTING = "RESTARTING"
    UPGRADING = "UPGRADING"
    REFRESHING = "REFRESHING"
    DELETING = "DELETING"
    UNAVAILABLE = "UNAVAILABLE"
    TAKINGOVER = "TAKINGOVER"


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One takeover of one host."""

    id: int
    name: str
    type: str
    status: TaskStatus
    operation: Operation
    creator: str
    creator_id: int
    executor: str
    host_id: int
    host_name: str
    obproxy_server_id: int | None  # None once the takeover was rolled back
    context: Mapping[str, Any]  # {"listMap": {str: [str]}, "stringMap": {str: str}}
    prohibit_rollback: bool
    task_definition_id: int
    trace_id: str
    create_time: datetime
    start_time: datetime
    finish_time: datetime | None

    @property
    def allow_restart(self) -> bool | None:
        """What its request says about restarting the OBProxy; None = it leaves that to the OBProxy cluster."""
        said = self.context["stringMap"].get(ALLOW_RESTART)
        return None if said is None else said == "true"


@dataclass(frozen=True, kw_only=True)
class BasicSubtask:
    """What a list of task instances shows of a subtask."""

    id: int
    task_instance_id: int
    name: str
    description: str
    status: SubtaskStatus
    operation: Operation


@dataclass(frozen=True, kw_only=True)
class Subtask(BasicSubtask):
    """One step of a task instance: one role."""

    role: str
    series_id: int
    class_name: str
    node_type: str
    parallel_idx: int
    prohibit_rollback: bool
    run_time: int  # which execution this is, from 1
    timeout: int  # seconds; 0 = no limit
    executor: str | None
    create_time: datetime
    start_time: datetime | None
    finish_time: datetime | None
    upstreams: Sequence[int]  # ids of the subtasks that must be SUCCESSFUL before this one is READY
    downstreams: Sequence[int]
    spent: float = 0.0  # seconds of its time limit that were used by runs that were handed back


@dataclass(frozen=True, kw_only=True)
class ObproxyServer:
    """One OBProxy process on one host at one SQL port."""

    id: int
    cluster_id: int
    cluster_name: str
    host_id: int
    host_name: str
    ip: str
    sql_port: int
    status: ServerStatus
    operate_status: str  # NORMAL or OPERATING
    exporter_port: int | None
    version: str | None  # VERSION-BUILD, e.g. 1.9.1.1-1919579
    architecture: str | None
    parameter_version: int
    learned: Mapping[str, Any]  # what runs found: pid, home, package, pending_restart …
    last_active_time: datetime | None
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, kw_only=True)
class ObproxyCluster:
    """An OBProxy cluster as the inventory wishes it, with the servers that the service knows of it."""

    id: int
    name: str
    work_mode: str | None  # CONFIG_URL or RS_LIST; None = the inventory does not say
    config_url: str | None
    address: str | None  # of the load balancer in front of it
    port: int | None
    servers: Sequence[ObproxyServer]
    idc_names: Mapping[int, str]  # by host id, of those hosts that have one


@dataclass(frozen=True, kw_only=True)
class ParameterValue:
    """A value of a parameter, and the addresses of the OBProxy servers that have it."""

    value: str
    servers: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ServerParameter:
    """A parameter of an OBProxy cluster's servers; the value that most of them have comes first."""

    name: str
    description: str
    needs_restart: bool
    values: Sequence[ParameterValue]


ParameterType = Literal["BOOL", "CAPACITY", "DOUBLE", "INT", "STRING", "TIME"]
"""OCP's, without MOMENT and STRING_LIST, which nothing that an OBProxy says would tell from STRING."""


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """What a version of OBProxy says about one of its parameters; None = it has no such end of a range."""

    id: int
    name: str
    version: str  # without the build
    type: ParameterType
    allowed: str  # a range as OBProxy writes it, `[]` = it has none
    minimum: str | None
    maximum: str | None
    needs_restart: bool
    read_only: bool
    description: str


class HostStatus(StrEnum):
    """State of a host (facts/ocp-api.md 1.5)."""

    NEW = "NEW"
    AVAILABLE = "AVAILABLE"
    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    DELETING = "DELETING"


class ServiceType(StrEnum):
    """What may be deployed on a host (facts/ocp-api.md 1.5); here it is OB_PROXY only."""

    OB_CLUSTER = "OB_CLUSTER"
    OB_PROXY = "OB_PROXY"
    OCP_AGENT = "OCP_AGENT"
    BACKUP_AGENT = "BACKUP_AGENT"
    RESTORE_AGENT = "RESTORE_AGENT"
    BACKUP_RESTORE_AGENT = "BACKUP_RESTORE_AGENT"
    OMS = "OMS"


@dataclass(frozen=True, kw_only=True)
class ManagedHost:
    """A host of the inventory, with the OBProxy servers that have been taken over on it."""

    id: int
    name: str
    address: str
    ssh_port: int | None  # None = the inventory's is none
    idc_name: str | None
    servers: Sequence[ObproxyServer]

    @property
    def status(self) -> HostStatus:
        """ONLINE with an OBProxy server that answers, OFFLINE when none of its does, NEW when it has none."""
        if not self.servers:
            return HostStatus.NEW
        silent = all(server.status is ServerStatus.UNAVAILABLE for server in self.servers)
        return HostStatus.OFFLINE if silent else HostStatus.ONLINE


@dataclass(frozen=True, kw_only=True)
class HostFilter:
    """What a list of hosts is narrowed to; None, empty = not narrowed."""

    statuses: Sequence[HostStatus] | None = None
    keyword: str | None = None  # part of the name, the address or a service's name
    included: Sequence[ServiceType] = ()  # has one of these
    excluded: Sequence[ServiceType] = ()  # has none of these
    descending: bool = False  # by id


@dataclass(frozen=True, kw_only=True)
class AuditCall:
    """One call that is to change something: by whom (None = nobody was proved), from where, what came of it."""

    user_name: str | None
    client: str
    method: str
    path: str
    status: int
    trace_id: str


@dataclass(frozen=True, kw_only=True)
class AuditEvent(AuditCall):
    """A call as it is kept; nobody's `calls` from one address in one minute are one, with the path of the first."""

    id: int
    time: datetime
    calls: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list: `number` from 1, `size` elements a page."""

    number: int = 1
    size: int = 10


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """What a list of task instances is narrowed to; None = not narrowed."""

    name: str | None = None  # substring
    statuses: Sequence[TaskStatus] | None = None
    type: str | None = None
    host_id: int | None = None
    descending: bool = True  # by id
