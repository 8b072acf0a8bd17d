"""Test that a released OBProxy runs on unchanged, without leftovers, and can be taken over again."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from service.cli.client import Client
from service.cli.transport import Document
from tests.roles.playing import play

from . import Lab, situations
from .fixtures import StartHost
from .host import LabHost
from .inventory import CLUSTERS, SYS_PASSWORD
from .task_documents import ended, statuses
from .traffic import held
from .tunnel import admin, query

DEADLINE = 120.0
OTHER = 3  # id of an OBProxy cluster that the lab's inventory does not have
CONFIGURATION = "/home/admin/ocp_agent/conf/module_config"
AGENT = f"""
runuser -u admin -- mkdir -p /home/admin/ocp_agent/bin {CONFIGURATION}
ln -s /bin/true /home/admin/ocp_agent/bin/ocp_agentctl
"""
MANAGED = f"cat /etc/ansible/facts.d/obproxy.fact {CONFIGURATION}/obproxy.yaml"
LEFT = "ls -A /var/lib/obproxy-takeover /etc/ansible 2>/dev/null; find / -xdev -name '*before-takeover*'"


def take_over(client: Client, host: LabHost, cluster_id: int = 1) -> int:
    """Take a host over and return the id of its OBProxy server."""
    (document,) = client.take_over(cluster_id, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    assert ended(client, document["id"])["status"] == "SUCCESSFUL"
    return int(document["context"]["stringMap"]["obproxy_server_id"])


def release(client: Client, server_id: int, *skipped: int) -> Document:
    (document,) = client.release(1, [server_id], skipped)
    return ended(client, document["id"])


def servers(client: Client, cluster_id: int = 1) -> set[int]:
    return {server["id"] for server in client.cluster(cluster_id)["obproxies"]}


def configuration(lab: Lab, host: LabHost) -> list[tuple[object, ...]]:
    with admin(lab, host, SYS_PASSWORD) as connection:
        return query(connection, "show proxyconfig")


def test_a_released_proxy_runs_on_and_nothing_else_is_left(lab: Lab, client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    pid, left = host.proxy_pid(), host.run(LEFT)
    server_id = take_over(client, host)
    before = configuration(lab, host)
    assert host.run(LEFT) != left

    with held(host, 20) as traffic:
        document = release(client, server_id)
        traffic.wait_until_all_are_answered()

    assert (document["name"], document["status"]) == ("Release obproxy", "SUCCESSFUL")
    assert statuses(document) == ["SUCCESSFUL"] * 5
    assert traffic.problems == []
    assert host.proxy_pid() == pid
    assert configuration(lab, host) == before
    assert host.run(LEFT) == left
    assert server_id not in servers(client)

    assert take_over(client, host) != server_id


def test_a_release_or_rollback_of_a_former_port_leaves_the_obproxy_at_its_new_port_managed(
    lab: Lab, client: Client, lab_host: StartHost
) -> None:
    host = lab_host()
    host.run(AGENT)
    former = take_over(client, host)
    host.run(f"{situations.STOP}cd {host.home} && runuser -u admin -- ./bin/obproxy -p 3883 -n test")
    (document,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": 3883}])
    assert ended(client, document["id"])["status"] == "SUCCESSFUL"
    left = host.run(MANAGED)

    undone = play(lab, host, playbook="rollback", variables={"obproxy_sql_port": 2883})
    assert "nothing listens on port 2883" in undone.failure(host)[1]
    assert host.run(MANAGED) == left

    assert release(client, former)["status"] == "SUCCESSFUL"

    assert host.run(MANAGED) == left and '"sql_port": 3883' in left and "sqlPort: 3883" in left
    assert host.run("ls /var/lib/obproxy-takeover").split() == ["before-3883.json"]


@pytest.fixture
def move(lab: Lab) -> Iterator[Callable[[LabHost], None]]:
    """Move a host to another OBProxy cluster of the inventory."""
    path = lab.inventory / "moved.yml"  # after hosts.yml
    variables = CLUSTERS[0].variables | {"obproxy_cluster_id": OTHER, "obproxy_cluster_name": "other"}

    def write(host: LabHost) -> None:
        group = {"vars": variables | {"ansible_group_priority": 2}, "hosts": {host.name: {}}}
        path.write_text(json.dumps({"all": {"children": {"other": group}}}), encoding="utf-8")

    yield write
    path.unlink(missing_ok=True)


def test_a_released_proxy_is_taken_over_into_another_cluster(
    client: Client, lab_host: StartHost, move: Callable[[LabHost], None]
) -> None:
    host = lab_host()
    pid, server_id = host.proxy_pid(), take_over(client, host)
    assert release(client, server_id)["status"] == "SUCCESSFUL"

    move(host)
    moved = take_over(client, host, OTHER)

    assert servers(client, OTHER) == {moved}
    assert server_id not in servers(client)
    assert host.proxy_pid() == pid
    fact = json.loads(host.run("cat /etc/ansible/facts.d/obproxy.fact"))
    assert (fact["cluster_id"], fact["cluster_name"]) == (OTHER, "other")


def test_a_host_that_is_gone_is_not_reached(client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    server_id = take_over(client, host)
    host.pause()
    try:
        began = time.monotonic()
        document = release(client, server_id, server_id)
    finally:
        host.resume()

    assert document["status"] == "SUCCESSFUL" and time.monotonic() - began < DEADLINE
    assert {subtask["operation"] for subtask in document["subtasks"]} == {"SKIP"}
    assert server_id not in servers(client)
