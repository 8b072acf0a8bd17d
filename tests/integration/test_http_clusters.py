"""OBProxy clusters and hosts over HTTP: those of the inventory, with the OBProxy servers of the database."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from service.model.workflow import TAKEOVER
from service.tasks import operations
from service.tasks.resources import Resources
from tests.integration.http_helpers import assert_envelope, assert_failure, assert_sorted, take_over
from tests.integration.sample_tasks import advance, subtask_ids

CLUSTERS = "/api/v2/obproxy/clusters"
HOSTS = "/api/v2/compute/hosts"


@pytest.fixture
def inventory_file(tmp_path: Path) -> Path:
    """Two clusters; hosts with the variables that these documents show."""
    path = tmp_path / "inventory" / "hosts.yml"
    path.parent.mkdir()
    path.write_text(
        """
all:
  hosts:
    odp-1: {ansible_host: 192.0.2.11, ocp_host_id: 1, ocp_idc_name: am171}
    odp-2: {ansible_host: 192.0.2.12, ocp_host_id: 2, ansible_port: 2222}
    odp-3: {ocp_host_id: 3, ansible_port: "{{ port_of_all }}"}
  children:
    test:
      vars:
        obproxy_cluster_id: 1
        obproxy_start_mode: config_url
        obproxy_config_server_url: http://192.0.2.1:8080/services
        obproxy_cluster_address: 192.0.2.99
        obproxy_cluster_port: 3306
    empty:
      vars: {obproxy_cluster_id: 7, obproxy_start_mode: rs_list, obproxy_config_server_url: unused}
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def resources(app: Starlette) -> Resources:
    """Return the resources of the application."""
    opened: Resources = app.state.resources
    return opened


async def change(resources: Resources, host_id: int, status: str, cluster_id: int = 1) -> None:
    """Change the server on a host as a takeover or a health check does."""
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE obproxy_server SET status = %(status)s::server_status, cluster_id = %(cluster_id)s,"
            " version = '4.3.1.0-1', architecture = 'x86_64', exporter_port = 2884, last_active_time = now(),"
            " operate_status = 'NORMAL' WHERE host_id = %(host_id)s",
            {"status": status, "cluster_id": cluster_id, "host_id": host_id},
        )


async def contents(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    body = assert_envelope(await client.get(path))
    assert body["successful"], body
    found: list[dict[str, Any]] = body["data"]["contents"]
    return found


async def test_a_cluster_is_the_inventorys_with_the_servers_taken_over(client: httpx.AsyncClient) -> None:
    await take_over(client, 1, 2)

    body = assert_envelope(await client.get(f"{CLUSTERS}/1"))

    assert_sorted(body)
    cluster = body["data"]
    proxies = cluster.pop("obproxies")
    del cluster["updateTime"]
    assert cluster == {
        "address": "192.0.2.99",
        "configUrl": "http://192.0.2.1:8080/services",
        "id": 1,
        "name": "test",
        "obLinks": [],
        "parameterVersion": 1,
        "port": 3306,
        "topo": [{"count": 1, "idcName": "am171"}],
        "versions": [],
        "workMode": "CONFIG_URL",
    }
    assert [proxy["hostId"] for proxy in proxies] == [1, 2]
    assert proxies[0] == {
        "id": proxies[0]["id"],
        "clusterId": 1,
        "hostId": 1,
        "idcName": "am171",
        "ip": "192.0.2.11",
        "operateStatus": "OPERATING",
        "parameterVersion": 1,
        "sqlPort": 2883,
        "status": "TAKINGOVER",
    }


async def test_clusters_in_pages_by_id(client: httpx.AsyncClient, resources: Resources) -> None:
    await take_over(client, 3)
    await change(resources, 3, "RUNNING", cluster_id=5)  # it has left the inventory; its server is still managed

    body = (await client.get(CLUSTERS)).json()

    shown = [(cluster["id"], cluster["name"], len(cluster["obproxies"])) for cluster in body["data"]["contents"]]
    assert shown == [(1, "test", 0), (5, "test", 1), (7, "empty", 0)]
    assert body["data"]["page"] == {"number": 1, "size": 10, "totalElements": 3, "totalPages": 1}
    (rs_list,) = await contents(client, f"{CLUSTERS}?size=2&page=2")
    assert (rs_list["id"], rs_list["workMode"]) == (7, "RS_LIST")
    assert "configUrl" not in rs_list
    assert await contents(client, f"{CLUSTERS}?size=2&page=3") == []
    assert (await client.get(f"{CLUSTERS}/5")).json()["data"]["name"] == "test"


async def test_hosts_list_their_deployed_services(client: httpx.AsyncClient, resources: Resources) -> None:
    await take_over(client, 1, 2)
    await change(resources, 1, "RUNNING")

    taken_over, on_its_way, untouched = await contents(client, HOSTS)

    assert taken_over["services"] == [
        {"name": "test", "softwarePackageId": None, "type": "OB_PROXY", "version": "4.3.1.0-1"}
    ]
    assert [host["status"] for host in (taken_over, on_its_way, untouched)] == ["ONLINE", "NEW", "NEW"]
    assert [host["sshPort"] for host in (taken_over, on_its_way, untouched)] == [22, 2222, None]
    assert (taken_over["idcName"], taken_over["architecture"]) == ("am171", "x86_64")
    assert (untouched["innerIpAddress"], untouched["services"]) == ("odp-3", [])
    assert (await client.get(f"{HOSTS}/1")).json()["data"] == taken_over


async def test_a_host_without_a_server_is_available_once_it_was_reached(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    reached, failed, skipped = [task["id"] for task in await take_over(client, 1, 2, 3)]
    first, second = resources.workflows[TAKEOVER].roles[:2]
    await advance(resources, reached, [first], second)
    await advance(resources, failed, [], first)
    await advance(resources, skipped, [], first)
    await operations.skip_subtask(resources, skipped, (await subtask_ids(resources, skipped))[0])

    assert [host["status"] for host in await contents(client, HOSTS)] == ["AVAILABLE", "NEW", "NEW"]
    assert [host["id"] for host in await contents(client, f"{HOSTS}?status=AVAILABLE")] == [1]
    await take_over(client, 1)  # it waits for a worker
    assert [host["id"] for host in await contents(client, f"{HOSTS}?status=AVAILABLE")] == [1]


async def test_a_trailing_slash_is_the_same_resource(client: httpx.AsyncClient) -> None:
    for path in (CLUSTERS, HOSTS, f"{HOSTS}/1", "/api/v2/info", "/clusters", "/api/status"):
        with_slash, without = await client.get(path + "/"), await client.get(path)
        assert (with_slash.status_code, without.status_code) == (200, 200), path
    assert await contents(client, HOSTS + "/") == await contents(client, HOSTS)


async def test_hosts_narrowed(client: httpx.AsyncClient, resources: Resources) -> None:
    await take_over(client, 1, 2)
    await change(resources, 1, "RUNNING")
    await change(resources, 2, "UNAVAILABLE")

    for query, ids in {
        "": [1, 2, 3],
        "sort=id,DESC": [3, 2, 1],
        "sort=name,desc": [3, 2, 1],
        "sort=name&keyword=odp": [1, 2, 3],
        "sort=id&size=2&page=2": [3],
        "status=ONLINE": [1],
        "status=OFFLINE,NEW": [2, 3],
        "status=DELETING": [],
        "keyword=ODP-": [1, 2, 3],
        "keyword=192.0.2.12": [2],
        "keyword=tes": [1, 2],
        "keyword=%25": [],
        "includedServiceType=OB_PROXY,OMS": [1, 2],
        "includedServiceType=OMS": [],
        "excludedServiceType=OB_PROXY": [3],
        "excludedServiceType=OMS&sort=id,desc&size=1": [3],
    }.items():
        assert [host["id"] for host in await contents(client, f"{HOSTS}?{query}")] == ids, query
    page = (await client.get(f"{HOSTS}?status=ONLINE,OFFLINE&size=1")).json()["data"]["page"]
    assert page == {"number": 1, "size": 1, "totalElements": 2, "totalPages": 2}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{CLUSTERS}/8", 404, 21001),
        (f"{CLUSTERS}/x", 400, 0),
        (f"{CLUSTERS}?page=0", 400, 0),
        (f"{CLUSTERS}?size=2001", 400, 0),
        (f"{HOSTS}/8", 404, 7005),
        (f"{HOSTS}/1.0", 400, 0),
        (f"{HOSTS}?status=online", 400, 0),
        (f"{HOSTS}?includedServiceType=PROXY", 400, 0),
        (f"{HOSTS}?sort=status", 400, 1011),
    ],
)
async def test_refusals(client: httpx.AsyncClient, path: str, status: int, code: int) -> None:
    answer = await client.get(path)

    assert answer.status_code == status
    assert assert_failure(answer).error.code == code
