"""What `ansible-inventory` prints becomes hosts and clusters by OCP's ids."""

from typing import Any

import pytest

from service.inventory.reader import first_reason, parse
from service.model.errors import InventoryUnreadable

HOSTVARS: dict[str, dict[str, Any]] = {
    "odp-1": {"ocp_host_id": 1, "ansible_host": "192.0.2.1"},
    "odp-2": {"ocp_host_id": 2},
    "bastion": {"ansible_host": "192.0.2.9"},
}


def group(children: list[str] | None = None, **variables: Any) -> dict[str, Any]:
    return {"children": children or [], "vars": variables}


def test_hosts_and_clusters_by_id() -> None:
    inventory = parse(HOSTVARS, {"all": group(["test"]), "test": group(obproxy_cluster_id=7), "web": group()})
    assert {host.id: host.address for host in inventory.hosts.values()} == {1: "192.0.2.1", 2: "odp-2"}
    assert {cluster.id: cluster.name for cluster in inventory.clusters.values()} == {7: "test"}


def test_a_cluster_inherits_from_the_groups_above_the_nearer_winning() -> None:
    groups = {
        "all": group(["region"], obproxy_sys_password="far", obproxy_package_name="obproxy"),
        "region": group(["test"], obproxy_sys_password="near"),
        "test": group(obproxy_cluster_id=7, obproxy_cluster_name="prod"),
    }
    variables = parse({}, groups).clusters[7].variables
    assert variables["obproxy_sys_password"] == "near"
    assert variables["obproxy_package_name"] == "obproxy"
    assert variables["obproxy_cluster_name"] == "prod"


@pytest.mark.parametrize(
    ("says", "asked", "allows"),
    [("yes", None, True), ("yes", False, False), (False, True, True), (None, None, False), ("no", None, False)],
)
def test_the_word_of_a_request_on_restarts_goes_before_the_clusters(
    says: Any, asked: bool | None, allows: bool
) -> None:
    said = {} if says is None else {"obproxy_allow_restart": says}
    cluster = parse({}, {"test": group(obproxy_cluster_id=7, **said)}).clusters[7]
    asked_of = cluster.as_asked(asked)
    assert asked_of.allows_restart is allows and asked_of.variables.items() >= {"obproxy_cluster_id": 7}.items()
    assert cluster.variables.get("obproxy_allow_restart") == says


@pytest.mark.parametrize(
    ("hostvars", "groups", "words"),
    [
        ({"a": {"ocp_host_id": 1}, "b": {"ocp_host_id": 1}}, {}, "a and b have the same ocp_host_id: 1"),
        ({"a": {"ocp_host_id": "1"}}, {}, "ocp_host_id of host a must be a positive integer, found '1'"),
        ({"a": {"ocp_host_id": True}}, {}, "found True"),
        ({}, {"g": group(obproxy_cluster_id=0)}, "obproxy_cluster_id of group g .* found 0"),
        ({}, {"g": group(obproxy_cluster_id=1), "h": group(obproxy_cluster_id=1)}, "g and h have the same"),
    ],
)
def test_what_cannot_be_is_refused_by_name(hostvars: dict[str, Any], groups: dict[str, Any], words: str) -> None:
    with pytest.raises(InventoryUnreadable, match=words):
        parse(hostvars, groups)


def test_of_many_complaints_the_first_with_file_and_line() -> None:
    errors = "[WARNING]: Failed to parse: bad.\n\nFailed.\nOrigin: /etc/inv/hosts.yml:4:1\n\n[WARNING]: other\n"
    assert first_reason(errors) == "/etc/inv/hosts.yml:4:1: Failed to parse: bad."
