"""Records of OBProxy servers, OBProxy clusters, their parameters and hosts.

Names are OCP's (docs/reference/ocp-api.md 1.4 and 1.5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from service.model.types import BY_ID, Order

DEFAULT_SQL_PORT = 2883
"""OBProxy's default port for clients (`listen_port`, docs/reference/obproxy.md 3)."""
MAX_PORT = 65535


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


HIDDEN = "***"
"""Stands for the value of a password."""

KEPT_MANAGED = frozenset({ServerStatus.REFRESHING, ServerStatus.RESTARTING})
"""States of workflows whose failure leaves the OBProxy server managed."""


@dataclass(frozen=True, kw_only=True)
class ParameterDifference:
    """A parameter that has another value than its cluster expects."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class UnmanagedChange:
    """A change of an OBProxy that was not made through the service. None = it did not exist."""

    what: str  # parameter, version, package, home, owner, supervisor, process
    name: str
    before: str | None
    after: str | None
    seen: datetime  # when a discovery found it


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
    learned: Mapping[str, Any]  # server facts from runs: pid, home, package, pending_restart …
    last_active_time: datetime | None
    create_time: datetime
    update_time: datetime

    @property
    def pending_restart(self) -> list[str] | None:
        """The names of parameters that take effect at the next restart; None before the first discovery."""
        return self.learned.get("pending_restart")

    @property
    def drift(self) -> list[str] | None:
        """The differences between the OBProxy and its cluster's settings; None before the first discovery."""
        return self.learned.get("drift")

    @property
    def parameter_drift(self) -> list[ParameterDifference] | None:
        """Parameters and passwords that differ from the cluster's values; None before the first discovery."""
        parameters, passwords = self.learned.get("parameter_drift"), self.learned.get("password_drift")
        if parameters is None and passwords is None:
            return None
        secret = [{"name": name, "expected": HIDDEN, "found": HIDDEN} for name in passwords or []]
        return [ParameterDifference(**found) for found in [*(parameters or []), *secret]]

    @property
    def unmanaged_changes(self) -> list[UnmanagedChange] | None:
        """Changes since the last takeover or refresh that discoveries found; None before the first discovery."""
        changes = self.learned.get("unmanaged_changes")
        if changes is None:
            return None
        return [UnmanagedChange(**change | {"seen": datetime.fromisoformat(change["seen"])}) for change in changes]

    @property
    def discovered(self) -> datetime | None:
        """The time at which a discovery last read everything; None before the first one."""
        found = self.learned.get("discovered")
        return found and datetime.fromisoformat(found)

    @property
    def discovery_error(self) -> str | None:
        """The reason why a later discovery could not read everything; None when it could."""
        return self.learned.get("discovery_error")


@dataclass(frozen=True, kw_only=True)
class ObproxyCluster:
    """An OBProxy cluster with the inventory's settings and its OBProxy servers in the database."""

    id: int
    name: str
    work_mode: Literal["CONFIG_URL", "RS_LIST"] | None  # None = not in the inventory
    config_url: str | None
    address: str | None  # of its load balancer
    port: int | None
    servers: Sequence[ObproxyServer]
    idc_names: Mapping[int, str]  # by host id; hosts without one are left out


@dataclass(frozen=True, kw_only=True)
class ParameterValue:
    """A value of a parameter with the addresses of the OBProxy servers that have it."""

    value: str
    servers: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ServerParameter:
    """A parameter of an OBProxy cluster's servers. The most frequent value is the first."""

    name: str
    description: str
    needs_restart: bool
    values: Sequence[ParameterValue]


ParameterType = Literal["BOOL", "CAPACITY", "DOUBLE", "INT", "STRING", "TIME"]
"""OCP's types except MOMENT and STRING_LIST: OBProxy's output does not distinguish them from STRING."""


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """The definition of a parameter in one version of OBProxy. `minimum` and `maximum`: None = unlimited."""

    id: int
    name: str
    version: str  # without the build
    type: ParameterType
    allowed: str  # the range as OBProxy writes it, `[]` = none
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
    """A service that can be deployed on a host (docs/reference/ocp-api.md 1.5); this service has only OB_PROXY."""

    OB_CLUSTER = "OB_CLUSTER"
    OB_PROXY = "OB_PROXY"
    OCP_AGENT = "OCP_AGENT"
    BACKUP_AGENT = "BACKUP_AGENT"
    RESTORE_AGENT = "RESTORE_AGENT"
    BACKUP_RESTORE_AGENT = "BACKUP_RESTORE_AGENT"
    OMS = "OMS"


@dataclass(frozen=True, kw_only=True)
class ManagedHost:
    """A host of the inventory with its managed OBProxy servers."""

    id: int
    name: str
    address: str
    ssh_port: int | None  # None = not a port number in the inventory
    idc_name: str | None
    reached: bool  # by a task instance
    servers: Sequence[ObproxyServer]

    @property
    def status(self) -> HostStatus:
        """OFFLINE when all OBProxy servers are UNAVAILABLE, else ONLINE; without servers AVAILABLE or NEW."""
        if not self.servers:
            return HostStatus.AVAILABLE if self.reached else HostStatus.NEW
        silent = all(server.status is ServerStatus.UNAVAILABLE for server in self.servers)
        return HostStatus.OFFLINE if silent else HostStatus.ONLINE


@dataclass(frozen=True, kw_only=True)
class HostFilter:
    """Filter of a list of hosts; None or empty = no filter."""

    statuses: Sequence[HostStatus] | None = None
    keyword: str | None = None  # part of the name, the address or a service's name
    included: Sequence[ServiceType] = ()  # has one of these
    excluded: Sequence[ServiceType] = ()  # has none of these
    order: Order = BY_ID
