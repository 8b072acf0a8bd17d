"""The inventory plugin makes an inventory from the service's responses."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.managed_hosts import group_name, managed_hosts
from ansible_collections.obproxy.takeover.plugins.module_utils.service_client import ServiceUnreachable

Json = dict[str, Any]
CLUSTERS, HOSTS = "/api/v2/obproxy/clusters", "/api/v2/compute/hosts"


class _Service:
    """Answers in pages of `size`, whatever was asked for."""

    def __init__(self, contents: Mapping[str, list[Json]], size: int = 100) -> None:
        self.contents, self.size = contents, size
        self.asked: list[str] = []

    def send(self, path: str) -> Any:
        self.asked.append(path)
        query = dict(parse_qsl(urlsplit(path).query))
        assert list(query) == sorted(query) and int(query["size"]) == 1000  # the largest page of the service
        contents, number = self.contents[urlsplit(path).path], int(query["page"])
        part = contents[(number - 1) * self.size : number * self.size]
        return {"contents": part, "page": {"totalPages": -(-len(contents) // self.size)}}


def _proxy(host_id: int, **other: Any) -> Json:
    usual = {"hostId": host_id, "clusterId": 1, "sqlPort": 2883, "status": "RUNNING", "ip": f"192.0.2.{host_id}"}
    return usual | {"version": "4.3.1.0-1", "exporterPort": 2884, "architecture": "x86_64"} | other


def _hosts(*numbers: int) -> list[Json]:
    return [
        {"id": number, "name": f"odp-{number}", "innerIpAddress": f"192.0.2.{number}", "sshPort": 22}
        for number in numbers
    ]


def _cluster(name: str, *proxies: Json) -> Json:
    return {"id": 1, "name": name, "obproxies": list(proxies)}


def test_a_server_that_is_managed() -> None:
    proxy = _proxy(1, pendingRestart=["work_thread_num"], lastActiveTime="2026-11-23T20:00:00Z")
    (host,) = managed_hosts(_Service({HOSTS: _hosts(1, 2), CLUSTERS: [_cluster("Prod-A", proxy), _cluster("empty")]}))
    assert host.name == "odp-1"
    assert host.groups == [
        "obproxy_cluster_prod_a",
        "obproxy_managed",
        "obproxy_status_running",
        "obproxy_version_4_3_1_0_1",
    ]
    assert host.variables == {
        "ansible_host": "192.0.2.1",
        "ansible_port": 22,
        "ocp_host_id": 1,
        "obproxy_servers": [
            {
                "cluster_id": 1,
                "cluster_name": "Prod-A",
                "sql_port": 2883,
                "exporter_port": 2884,
                "version": "4.3.1.0-1",
                "status": "RUNNING",
                "architecture": "x86_64",
                "pending_restart": ["work_thread_num"],
                "last_active_time": "2026-11-23T20:00:00Z",
            }
        ],
    }


def test_several_on_one_host_are_one_host_in_all_their_groups() -> None:
    first = _cluster("a", _proxy(1, sqlPort=3306, status="UNAVAILABLE", version=None))
    (host,) = managed_hosts(_Service({HOSTS: _hosts(1), CLUSTERS: [first, _cluster("b", _proxy(1))]}))
    assert [server["sql_port"] for server in host.variables["obproxy_servers"]] == [2883, 3306]
    assert {"obproxy_cluster_a", "obproxy_cluster_b", "obproxy_status_unavailable"} <= set(host.groups)


def test_one_that_is_not_taken_over_yet_is_not_there() -> None:
    assert managed_hosts(_Service({HOSTS: _hosts(1), CLUSTERS: [_cluster("a", _proxy(1, status="TAKINGOVER"))]})) == []


def test_a_host_that_has_left_the_service_s_inventory_is_called_by_its_address() -> None:
    (host,) = managed_hosts(_Service({HOSTS: [], CLUSTERS: [_cluster("a", _proxy(9))]}))
    assert host.name == host.variables["ansible_host"] == "192.0.2.9" and "ansible_port" not in host.variables


def test_all_pages_are_requested() -> None:
    clusters = [_cluster(f"c{number}", _proxy(number)) for number in range(1, 8)]
    service = _Service({HOSTS: _hosts(*range(1, 8)), CLUSTERS: clusters}, size=3)
    assert [host.name for host in managed_hosts(service)] == [f"odp-{number}" for number in range(1, 8)]
    assert len(service.asked) == 6


@pytest.mark.parametrize("answer", [None, [], {}, {"contents": [{}], "page": {"totalPages": 1}}, "text"])
def test_an_unexpected_response_is_an_error(answer: Any) -> None:
    class OtherService:
        def send(self, _: str) -> Any:
            return answer

    with pytest.raises(ServiceUnreachable, match="is not the takeover service"):
        managed_hosts(OtherService())


def test_a_group_s_name_is_valid_in_ansible() -> None:
    assert group_name("cluster", "生产 Prod.1") == "obproxy_cluster____prod_1"
