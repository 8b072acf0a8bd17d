"""What callers get of OBProxy clusters, OBProxy servers and hosts: `document_clusters` makes it.

Shapes: docs/reference/ocp-api.md 1.4 and 1.5.
"""

from datetime import datetime
from typing import Literal

from pydantic import RootModel

from service.http.envelope_schema import Answer
from service.model.fleet import HostStatus, ParameterType, ServerStatus, ServiceType


class ObproxyServer(Answer):
    """A member of an OBProxy cluster. `version` is VERSION-BUILD; `pendingRestart` names parameters that wait for one.

    `lastActiveTime` is when it was last seen answering.
    """

    architecture: str | None = None
    clusterId: int
    exporterPort: int | None = None
    hostId: int
    id: int
    idcName: str | None = None
    ip: str
    lastActiveTime: datetime | None = None
    operateStatus: Literal["NORMAL", "OPERATING"]
    parameterVersion: int
    pendingRestart: list[str] | None = None
    sqlPort: int
    status: ServerStatus
    version: str | None = None


class IdcCount(Answer):
    """How many of a cluster's servers are in a data centre."""

    count: int
    idcName: str


class VersionCount(Answer):
    """How many of a cluster's servers have a version."""

    count: int
    version: str


class ObLink(Answer):
    """An OceanBase cluster that an OBProxy cluster leads to. None is managed here."""


class ObproxyCluster(Answer):
    """An OBProxy cluster with its servers. `updateTime` is when the last of them changed."""

    address: str | None = None
    configUrl: str | None = None
    id: int
    name: str
    obLinks: list[ObLink]
    obproxies: list[ObproxyServer]
    parameterVersion: int
    port: int | None = None
    topo: list[IdcCount]
    updateTime: datetime | None = None
    versions: list[VersionCount]
    workMode: Literal["CONFIG_URL", "RS_LIST"] | None = None


class ParameterValue(Answer):
    """A value, and the addresses of the OBProxy servers that have it."""

    obproxies: list[str]
    value: str


class ClusterParameter(Answer):
    """A parameter of a cluster's servers, as they said when they were last taken over or looked at; secrets are `***`.

    `values` begin with the commonest; `valueString` has them all, with commas.
    """

    description: str
    name: str
    needReboot: bool
    valueString: str
    values: list[ParameterValue]


class ParameterInfo(Answer):
    """What a version of OBProxy says about a parameter. What it does not tell is null.

    `type` is what range and value look like; `allowedStringValues` is the range as OBProxy writes it.
    """

    allowedStringValues: str
    defaultValue: str | None
    description: str
    explanation: str | None
    id: int
    maxValue: str | None
    minValue: str | None
    name: str
    needRestart: bool
    readonly: bool
    type: ParameterType
    version: str


class ServiceSummary(Answer):
    """What is deployed on a host; `name` is the OBProxy cluster's."""

    name: str
    softwarePackageId: int | None
    type: ServiceType
    version: str | None


class Host(Answer):
    """A host of the inventory. What it does not know is null.

    `status` is ONLINE with an OBProxy server that answers, OFFLINE when none of its does, NEW when it has none.
    """

    alias: str | None
    architecture: str | None
    createTime: datetime | None
    description: str | None
    hostAgentId: int | None
    hostAgentStatus: str | None
    hostAgentVersion: str | None
    id: int
    idcDescription: str | None
    idcId: int | None
    idcName: str | None
    innerIpAddress: str
    kind: str | None
    name: str
    operatingSystem: str | None
    operatingSystemRelease: str | None
    publishPorts: str | None
    regionDescription: str | None
    regionId: int | None
    regionName: str | None
    serialNumber: str | None
    services: list[ServiceSummary]
    sshPort: int | None
    status: HostStatus
    typeDescription: str | None
    typeId: int | None
    typeName: str | None
    updateTime: datetime | None


class Target(Answer):
    """Exporters that have the same labels; here it is always one, as `host:port`."""

    targets: list[str]
    labels: dict[str, str]


class Exporters(RootModel[list[Target]]):
    """What Prometheus is to ask."""
