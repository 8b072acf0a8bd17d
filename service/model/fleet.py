"""Records of OBProxy servers, OBProxy clusters, their parameters and hosts.

Words and fields are OCP's (docs/reference/ocp-api.md 1.4 and 1.5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal


class ServerStatus(StrEnum):
    """State of an OBProxy server (docs/reference/ocp-api.md 1.4)."""

    CREATING = "CREATING"
    RUNNING = "RUNNING"
    RESTARTING = "RESTARTING"
    UPGRADING = "UPGRADING"
    REFRESHING = "REFRESHING"
    DELETING = "DELETING"
    UNAVAILABLE = "UNAVAILABLE"
    TAKINGOVER = "TAKINGOVER"


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
    operate_status: Literal["NORMAL", "OPERATING"]
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
    work_mode: Literal["CONFIG_URL", "RS_LIST"] | None  # None = the inventory does not say
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
    """State of a host (docs/reference/ocp-api.md 1.5)."""

    NEW = "NEW"
    AVAILABLE = "AVAILABLE"
    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    DELETING = "DELETING"


class ServiceType(StrEnum):
    """What may be deployed on a host (docs/reference/ocp-api.md 1.5); here it is OB_PROXY only."""

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
