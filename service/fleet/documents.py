"""OCP's JSON objects of OBProxy clusters, OBProxy servers and hosts: their types and their construction.

The OpenAPI document is made from the types. A property marked `NotRequired` is left out when it is None.
Shapes: docs/reference/ocp-api.md 1.4 (clusters, servers), 1.5 (hosts); null rule: 4.1. Only hosts and parameter
descriptions contain nulls.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NotRequired, TypedDict

from service.model import fleet as rows
from service.model.fleet import HostStatus, ManagedHost, ParameterType, ServerParameter, ServerStatus, ServiceType
from service.model.wire import Timestamp, present, timestamp, timestamp_or_none


class ParameterDifference(TypedDict):
    """A parameter with the value that its cluster expects and the value that the OBProxy has; secrets are `***`."""

    expected: str
    found: str
    name: str


class UnmanagedChange(TypedDict):
    """A change of an OBProxy that was not made through the service. `seenTime`: a discovery found it.

    `what` is `parameter`, `version`, `package`, `home`, `owner`, `supervisor` or `process`. `before` or `after` is
    missing when the OBProxy belonged or belongs to no package.
    """

    after: NotRequired[str | None]
    before: NotRequired[str | None]
    name: str
    seenTime: Timestamp
    what: str


class ObproxyServer(TypedDict):
    """A member of an OBProxy cluster. `version` is VERSION-BUILD.

    `drift` describes the differences between the OBProxy and its cluster's settings: version, package, program,
    supervisor and application name. `parameterDrift` lists the parameters and passwords that differ, and
    `unmanagedChanges` the changes since the last takeover or refresh that were not made through the service.
    `lastDiscoveryTime` is the time at which all of this was read; `discoveryError` is why a later discovery could not
    read it. `pendingRestart` lists parameters that need a restart. `lastActiveTime` is the time of the last successful
    health check.
    """

    architecture: NotRequired[str | None]
    clusterId: int
    discoveryError: NotRequired[str | None]
    drift: NotRequired[list[str] | None]
    exporterPort: NotRequired[int | None]
    hostId: int
    id: int
    idcName: NotRequired[str | None]
    ip: str
    lastActiveTime: NotRequired[Timestamp | None]
    lastDiscoveryTime: NotRequired[Timestamp | None]
    operateStatus: Literal["NORMAL", "OPERATING"]
    parameterDrift: NotRequired[list[ParameterDifference] | None]
    parameterVersion: int
    pendingRestart: NotRequired[list[str] | None]
    sqlPort: int
    status: ServerStatus
    unmanagedChanges: NotRequired[list[UnmanagedChange] | None]
    version: NotRequired[str | None]


class IdcCount(TypedDict):
    """Number of a cluster's servers in one data centre."""

    count: int
    idcName: str


class VersionCount(TypedDict):
    """Number of a cluster's servers with one version."""

    count: int
    version: str


class ObLink(TypedDict):
    """An OceanBase cluster behind an OBProxy cluster. The service manages none."""


class ObproxyCluster(TypedDict):
    """An OBProxy cluster with its servers. `updateTime` is the time of the last change of a server.

    It has no creator and no `createTime`, since the inventory contains neither. `obLinks` is empty, since the service
    does not manage OceanBase clusters.
    """

    address: NotRequired[str | None]
    configUrl: NotRequired[str | None]
    id: int
    name: str
    obLinks: list[ObLink]
    obproxies: list[ObproxyServer]
    parameterVersion: int
    port: NotRequired[int | None]
    topo: list[IdcCount]
    updateTime: NotRequired[Timestamp | None]
    versions: list[VersionCount]
    workMode: NotRequired[Literal["CONFIG_URL", "RS_LIST"] | None]


class ParameterValue(TypedDict):
    """A value, and the addresses of the OBProxy servers that have it."""

    obproxies: list[str]
    value: str


class ClusterParameter(TypedDict):
    """A parameter of a cluster's servers, as read by their last takeover or discovery; secrets are `***`.

    `values` start with the most frequent one; `valueString` joins all of them with commas.
    """

    description: str
    name: str
    needReboot: bool
    valueString: str
    values: list[ParameterValue]


class ParameterInfo(TypedDict):
    """Description of a parameter by one OBProxy version. Unknown properties are null, as in OCP's sample.

    `type` is derived from range and value; `allowedStringValues` is the range in OBProxy's notation.
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


class ServiceSummary(TypedDict):
    """A service deployed on a host; `name` is the name of the OBProxy cluster."""

    name: str
    softwarePackageId: int | None
    type: ServiceType
    version: str | None


class Host(TypedDict):
    """A host of the inventory. Unknown properties are null, as in OCP's sample.

    `status` is ONLINE with a managed OBProxy server, or OFFLINE when none of them answers. Without one it is NEW, and
    AVAILABLE once a subtask has succeeded on it.
    """

    alias: str | None
    architecture: str | None
    createTime: Timestamp | None
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
    updateTime: Timestamp | None


def obproxy_cluster(cluster: rows.ObproxyCluster) -> ObproxyCluster:
    """Return the document of an OBProxy cluster with its servers."""
    servers = cluster.servers
    document: ObproxyCluster = {
        "address": cluster.address,
        "configUrl": cluster.config_url,
        "id": cluster.id,
        "name": cluster.name,
        "obLinks": [],
        "obproxies": [obproxy_server(server, cluster.idc_names.get(server.host_id)) for server in servers],
        "parameterVersion": max((server.parameter_version for server in servers), default=1),
        "port": cluster.port,
        "topo": [
            {"count": count, "idcName": name}
            for name, count in _counted(cluster.idc_names.get(server.host_id) for server in servers)
        ],
        "updateTime": timestamp_or_none(max((server.update_time for server in servers), default=None)),
        "versions": [
            {"count": count, "version": version} for version, count in _counted(server.version for server in servers)
        ],
        "workMode": cluster.work_mode,
    }
    return present(document)


def obproxy_server(row: rows.ObproxyServer, idc_name: str | None = None) -> ObproxyServer:
    """Return the document of an OBProxy server."""
    document: ObproxyServer = {
        "architecture": row.architecture,
        "clusterId": row.cluster_id,
        "discoveryError": row.discovery_error,
        "drift": row.drift,
        "exporterPort": row.exporter_port,
        "hostId": row.host_id,
        "id": row.id,
        "idcName": idc_name,
        "ip": row.ip,
        "lastActiveTime": timestamp_or_none(row.last_active_time),
        "lastDiscoveryTime": timestamp_or_none(row.discovered),
        "operateStatus": row.operate_status,
        "parameterDrift": _parameter_drift(row),
        "parameterVersion": row.parameter_version,
        "pendingRestart": row.pending_restart,
        "sqlPort": row.sql_port,
        "status": row.status,
        "unmanagedChanges": _unmanaged_changes(row),
        "version": row.version,
    }
    return present(document)


def _parameter_drift(row: rows.ObproxyServer) -> list[ParameterDifference] | None:
    if row.parameter_drift is None:
        return None
    return [{"expected": one.expected, "found": one.found, "name": one.name} for one in row.parameter_drift]


def _unmanaged_changes(row: rows.ObproxyServer) -> list[UnmanagedChange] | None:
    if row.unmanaged_changes is None:
        return None
    return [_unmanaged_change(change) for change in row.unmanaged_changes]


def _unmanaged_change(change: rows.UnmanagedChange) -> UnmanagedChange:
    document: UnmanagedChange = {
        "after": change.after,
        "before": change.before,
        "name": change.name,
        "seenTime": timestamp(change.seen),
        "what": change.what,
    }
    return present(document)


def cluster_parameter(parameter: ServerParameter) -> ClusterParameter:
    """Return the document of a parameter; `obproxies` are addresses."""
    return {
        "description": parameter.description,
        "name": parameter.name,
        "needReboot": parameter.needs_restart,
        "valueString": ",".join(found.value for found in parameter.values),
        "values": [{"obproxies": list(found.servers), "value": found.value} for found in parameter.values],
    }


def parameter_info(info: rows.ParameterInfo) -> ParameterInfo:
    """Return the document of a parameter description; OBProxy reports no default value and no explanation."""
    return {
        "allowedStringValues": info.allowed,
        "defaultValue": None,
        "description": info.description,
        "explanation": None,
        "id": info.id,
        "maxValue": info.maximum,
        "minValue": info.minimum,
        "name": info.name,
        "needRestart": info.needs_restart,
        "readonly": info.read_only,
        "type": info.type,
        "version": info.version,
    }


def host(managed: ManagedHost) -> Host:
    """Return the document of a host."""
    architectures = [server.architecture for server in managed.servers if server.architecture]
    return {
        "alias": None,
        "architecture": architectures[0] if architectures else None,
        "createTime": None,
        "description": None,
        "hostAgentId": None,
        "hostAgentStatus": None,
        "hostAgentVersion": None,
        "id": managed.id,
        "idcDescription": None,
        "idcId": None,
        "idcName": managed.idc_name,
        "innerIpAddress": managed.address,
        "kind": None,
        "name": managed.name,
        "operatingSystem": None,
        "operatingSystemRelease": None,
        "publishPorts": None,
        "regionDescription": None,
        "regionId": None,
        "regionName": None,
        "serialNumber": None,
        "services": [
            {
                "name": server.cluster_name,
                "softwarePackageId": None,
                "type": ServiceType.OB_PROXY,
                "version": server.version,
            }
            for server in managed.servers
        ],
        "sshPort": managed.ssh_port,
        "status": managed.status,
        "typeDescription": None,
        "typeId": None,
        "typeName": None,
        "updateTime": None,
    }


def _counted(words: Iterable[str | None]) -> list[tuple[str, int]]:
    """Return each value with the number of its occurrences, in alphabetical order."""
    return sorted(Counter(word for word in words if word is not None).items())
