"""What the outside sees of OBProxy clusters, OBProxy servers and hosts, as `document` shows task instances.

Shapes: docs/reference/ocp-api.md 1.4 (clusters, servers), 1.5 (hosts). Null rule: 4.1; a host alone says its nulls.
"""

from collections import Counter
from collections.abc import Iterable

from service.model.fleet import ManagedHost, ObproxyCluster, ObproxyServer, ParameterInfo, ServerParameter, ServiceType
from service.model.types import JSON
from service.model.wire import present, timestamp_or_none


def obproxy_cluster(cluster: ObproxyCluster) -> JSON:
    """An obproxyCluster with all its servers.

    It has no creator and no `createTime`, since the inventory knows neither; `updateTime` is when the last of its
    servers changed. The OceanBase clusters that its servers lead to are not managed here: `obLinks` is empty.
    """
    servers = cluster.servers
    return present(
        address=cluster.address,
        configUrl=cluster.config_url,
        id=cluster.id,
        name=cluster.name,
        obLinks=[],
        obproxies=[obproxy_server(server, cluster.idc_names.get(server.host_id)) for server in servers],
        parameterVersion=max((server.parameter_version for server in servers), default=1),
        port=cluster.port,
        topo=[
            {"count": count, "idcName": name}
            for name, count in _counted(cluster.idc_names.get(server.host_id) for server in servers)
        ],
        updateTime=timestamp_or_none(max((server.update_time for server in servers), default=None)),
        versions=[
            {"count": count, "version": version} for version, count in _counted(server.version for server in servers)
        ],
        workMode=cluster.work_mode,
    )


def obproxy_server(row: ObproxyServer, idc_name: str | None = None) -> JSON:
    """An element of an OBProxy cluster's `obproxies`, plus `pendingRestart`: names of parameters that wait for one."""
    return present(
        architecture=row.architecture,
        clusterId=row.cluster_id,
        exporterPort=row.exporter_port,
        hostId=row.host_id,
        id=row.id,
        idcName=idc_name,
        ip=row.ip,
        lastActiveTime=timestamp_or_none(row.last_active_time),
        operateStatus=row.operate_status,
        parameterVersion=row.parameter_version,
        pendingRestart=row.learned.get("pending_restart"),
        sqlPort=row.sql_port,
        status=row.status,
        version=row.version,
    )


def cluster_parameter(parameter: ServerParameter) -> JSON:
    """An ObproxyClusterParameter. `valueString` are its values, each once, with commas; `obproxies` are addresses."""
    return {
        "description": parameter.description,
        "name": parameter.name,
        "needReboot": parameter.needs_restart,
        "valueString": ",".join(found.value for found in parameter.values),
        "values": [{"obproxies": list(found.servers), "value": found.value} for found in parameter.values],
    }


def parameter_info(info: ParameterInfo) -> JSON:
    """A ParameterInfo, which says its nulls, as in OCP's sample: `defaultValue` and `explanation` no OBProxy tells."""
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


def host(managed: ManagedHost) -> JSON:
    """A Host. What the inventory does not know is null, as in OCP's sample."""
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
    """How often each word is there, in alphabetical order."""
    return sorted(Counter(word for word in words if word is not None).items())
