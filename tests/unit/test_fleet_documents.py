"""JSON documents of OBProxy clusters, servers and hosts: names and order of the samples in OCP's documentation."""

from dataclasses import replace
from datetime import datetime

from service.fleet import documents
from service.model.fleet import (
    HostStatus,
    ManagedHost,
    ObproxyCluster,
    ParameterInfo,
    ParameterValue,
    ServerParameter,
    ServerStatus,
)
from service.model.wire import timestamp
from tests.unit.records import MOMENT, server

SEEN = "2026-01-02T03:04:05+00:00"
CLUSTER = ObproxyCluster(
    id=1,
    name="test",
    work_mode="CONFIG_URL",
    config_url="http://192.0.2.1:8080/services?Action=GetObProxyConfig&ObproxyClusterName=test",
    address="192.0.2.99",
    port=2883,
    servers=[server()],
    idc_names={2: "am171"},
)

# Without creator and createTime, which the inventory does not know.
CLUSTER_PROPERTIES = [
    *("address", "configUrl", "id", "name", "obLinks", "obproxies", "parameterVersion", "port", "topo", "updateTime"),
    *("versions", "workMode"),
]
SERVER_PROPERTIES = [
    *("architecture", "clusterId", "exporterPort", "hostId", "id", "idcName", "ip", "lastActiveTime", "operateStatus"),
    *("parameterVersion", "sqlPort", "status", "version"),
]
HOST_PROPERTIES = [
    *("alias", "architecture", "createTime", "description", "hostAgentId", "hostAgentStatus", "hostAgentVersion", "id"),
    *("idcDescription", "idcId", "idcName", "innerIpAddress", "kind", "name", "operatingSystem"),
    *("operatingSystemRelease", "publishPorts", "regionDescription", "regionId", "regionName", "serialNumber"),
    *("services", "sshPort", "status", "typeDescription", "typeId", "typeName", "updateTime"),
]


def host(*statuses: ServerStatus, reached: bool = False) -> ManagedHost:
    return ManagedHost(
        id=1,
        name="odp-1",
        address="192.0.2.11",
        ssh_port=22,
        idc_name=None,
        reached=reached,
        servers=[server(status=status) for status in statuses],
    )


def test_a_cluster_has_the_properties_of_the_sample_in_the_same_order() -> None:
    shown = documents.obproxy_cluster(CLUSTER)

    assert list(shown) == CLUSTER_PROPERTIES
    assert shown["obLinks"] == []
    assert shown["parameterVersion"] == 3
    (proxy,) = shown["obproxies"]
    assert list(proxy) == SERVER_PROPERTIES
    assert shown["topo"] == [{"count": 1, "idcName": "am171"}]
    assert shown["versions"] == [{"count": 1, "version": "1.9.1.1-1919579"}]
    assert [list(part) for part in (*shown["topo"], *shown["versions"])] == [["count", "idcName"], ["count", "version"]]


def test_a_server_shows_its_drift_and_the_age_of_that() -> None:
    learned = {
        "parameter_drift": [{"name": "work_thread_num", "expected": "8", "found": "4"}],
        "password_drift": ["observer_sys_password"],
        "unmanaged_changes": [
            {"what": "package", "name": "obproxy", "before": None, "after": "obproxy-4.3.2.0", "seen": SEEN},
            {"what": "parameter", "name": "a", "before": "1", "after": "2", "seen": SEEN},
        ],
        "drift": ["The binary belongs to no package."],
        "discovered": SEEN,
        "discovery_error": "Permission denied",
    }
    shown = documents.obproxy_server(server(learned=learned))

    assert shown["parameterDrift"] == [
        {"expected": "8", "found": "4", "name": "work_thread_num"},
        {"expected": "***", "found": "***", "name": "observer_sys_password"},
    ]
    seen = {"seenTime": shown["lastDiscoveryTime"]}
    assert shown["unmanagedChanges"] == [
        seen | {"after": "obproxy-4.3.2.0", "name": "obproxy", "what": "package"},
        seen | {"after": "2", "before": "1", "name": "a", "what": "parameter"},
    ]
    assert shown["drift"] == ["The binary belongs to no package."]
    assert datetime.fromisoformat(str(shown["lastDiscoveryTime"])) == datetime.fromisoformat(SEEN)
    assert shown["discoveryError"] == "Permission denied"
    assert list(shown) == sorted(shown)


def test_a_host_has_the_architecture_of_its_first_known_server() -> None:
    found = host()
    assert documents.host(found)["architecture"] is None
    servers = [server(architecture=architecture) for architecture in (None, "aarch64", "x86_64")]
    assert documents.host(replace(found, servers=servers))["architecture"] == "aarch64"


def test_a_cluster_has_no_null_properties() -> None:
    bare = ObproxyCluster(
        id=7, name="empty", work_mode=None, config_url=None, address=None, port=None, servers=[], idc_names={}
    )

    assert documents.obproxy_cluster(bare) == {
        **{"id": 7, "name": "empty", "parameterVersion": 1},
        **{"obLinks": [], "obproxies": [], "topo": [], "versions": []},
    }


def test_servers_are_counted_by_version_and_data_centre() -> None:
    servers = [
        server(id=1, host_id=1, version="4.3.1.0-1", parameter_version=1),
        server(id=2, host_id=2, version="1.9.1.1-1919579"),
        server(id=3, host_id=3, version="4.3.1.0-1"),
        server(id=4, host_id=4, version=None, update_time=MOMENT.replace(year=2030)),
    ]
    cluster = ObproxyCluster(**{**vars(CLUSTER), "servers": servers, "idc_names": {1: "b", 2: "b", 3: "a"}})

    shown = documents.obproxy_cluster(cluster)

    assert shown["versions"] == [{"count": 1, "version": "1.9.1.1-1919579"}, {"count": 2, "version": "4.3.1.0-1"}]
    assert shown["topo"] == [{"count": 1, "idcName": "a"}, {"count": 2, "idcName": "b"}]
    assert [proxy.get("idcName") for proxy in shown["obproxies"]] == ["b", "b", "a", None]
    assert str(shown["updateTime"]).startswith("2030")
    assert shown["parameterVersion"] == 3


def test_a_server_lists_the_parameters_that_need_a_restart() -> None:
    shown = documents.obproxy_server(server(learned={"pending_restart": ["work_thread_num"]}))

    assert shown["pendingRestart"] == ["work_thread_num"]
    assert list(shown) == sorted(shown)


def test_a_host_has_the_properties_of_the_sample_in_the_same_order_with_nulls() -> None:
    shown = documents.host(host(ServerStatus.RUNNING))

    assert list(shown) == HOST_PROPERTIES
    assert shown["alias"] is None
    assert shown["services"] == [
        {"name": "test", "softwarePackageId": None, "type": "OB_PROXY", "version": "1.9.1.1-1919579"}
    ]
    assert list(shown["services"][0]) == ["name", "softwarePackageId", "type", "version"]


def test_the_status_of_a_host_follows_from_its_obproxy_servers() -> None:
    running, unavailable = ServerStatus.RUNNING, ServerStatus.UNAVAILABLE

    assert host().status is HostStatus.NEW
    assert host(reached=True).status is HostStatus.AVAILABLE
    assert host(running, unavailable).status is HostStatus.ONLINE
    assert host(unavailable, unavailable).status is HostStatus.OFFLINE
    assert documents.host(host())["architecture"] is None


def test_a_server_in_full() -> None:
    shown = documents.obproxy_server(server(), "am171")

    assert shown == {
        "architecture": "x86_64",
        "clusterId": 1,
        "exporterPort": 2884,
        "hostId": 2,
        "id": 1,
        "idcName": "am171",
        "ip": "192.0.2.2",
        "lastActiveTime": timestamp(MOMENT),
        "operateStatus": "NORMAL",
        "parameterVersion": 3,
        "sqlPort": 2883,
        "status": "RUNNING",
        "version": "1.9.1.1-1919579",
    }
    cluster = documents.obproxy_cluster(CLUSTER)
    assert {name: cluster[name] for name in ("address", "configUrl", "id", "name", "port", "workMode")} == {
        "address": "192.0.2.99",
        "configUrl": CLUSTER.config_url,
        "id": 1,
        "name": "test",
        "port": 2883,
        "workMode": "CONFIG_URL",
    }


def test_the_known_properties_of_a_host() -> None:
    shown = documents.host(replace(host(), idc_name="am171"))

    assert {name: value for name, value in shown.items() if value is not None} == {
        "id": 1,
        "idcName": "am171",
        "innerIpAddress": "192.0.2.11",
        "name": "odp-1",
        "services": [],
        "sshPort": 22,
        "status": "NEW",
    }


def test_the_values_of_a_parameter() -> None:
    values = [
        ParameterValue(value="4", servers=["192.0.2.1:2883", "192.0.2.2:2883"]),
        ParameterValue(value="8", servers=["192.0.2.3:2883"]),
    ]
    parameter = ServerParameter(name="work_thread_num", description="threads", needs_restart=True, values=values)

    assert documents.cluster_parameter(parameter) == {
        "description": "threads",
        "name": "work_thread_num",
        "needReboot": True,
        "valueString": "4,8",
        "values": [
            {"obproxies": ["192.0.2.1:2883", "192.0.2.2:2883"], "value": "4"},
            {"obproxies": ["192.0.2.3:2883"], "value": "8"},
        ],
    }


def test_the_description_of_a_parameter() -> None:
    info = ParameterInfo(
        id=1,
        name="work_thread_num",
        version="4.3.1.0",
        type="INT",
        allowed="[1,128]",
        minimum="1",
        maximum="128",
        needs_restart=True,
        read_only=False,
        description="threads",
    )

    assert documents.parameter_info(info) == {
        "allowedStringValues": "[1,128]",
        "defaultValue": None,
        "description": "threads",
        "explanation": None,
        "id": 1,
        "maxValue": "128",
        "minValue": "1",
        "name": "work_thread_num",
        "needRestart": True,
        "readonly": False,
        "type": "INT",
        "version": "4.3.1.0",
    }
