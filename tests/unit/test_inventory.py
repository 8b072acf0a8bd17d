"""Hosts and OBProxy clusters by OCP's ids, and the files whose change causes a new reading."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.inventory import sources
from service.inventory.parse_errors import ParseErrors
from service.inventory.records import Cluster, Host, parse_id, view
from service.model.errors import InventoryUnreadable


def host(identifier: int, name: str = "odp-1", **variables: Any) -> Host:
    return Host(id=identifier, name=name, variables={"ocp_host_id": identifier, **variables})


def cluster(identifier: int, name: str = "test", **variables: Any) -> Cluster:
    return Cluster(id=identifier, name=name, group=name, variables={"obproxy_cluster_id": identifier, **variables})


def test_hosts_and_clusters_by_id() -> None:
    found = view([host(1), host(2, "odp-2")], [cluster(7)])
    assert {known.id: known.name for known in found.hosts.values()} == {1: "odp-1", 2: "odp-2"}
    assert set(found.clusters) == {7}


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "odp-1"),
        ({"ansible_host": "192.0.2.1"}, "192.0.2.1"),
        ({"ansible_host": "192.0.2.1", "ansible_ssh_host": "192.0.2.2"}, "192.0.2.2"),
    ],
)
def test_the_address_is_where_ssh_connects_to(variables: dict[str, str], address: str) -> None:
    assert host(1, **variables).address == address


@pytest.mark.parametrize(
    ("value", "port"),
    [
        *((None, 2883), (2885, 2885), ("2885", 2885), (True, 2883), ("{{ x }}", 2883)),
        *((0, 2883), (65535, 65535), (70000, 2883), (-1, 2883), ("9" * 20, 2883), ("٢٨٨٥", 2883)),
    ],
    ids=repr,
)
def test_the_sql_port_may_be_in_quotes_and_is_a_port(value: Any, port: int) -> None:
    assert host(1, **({} if value is None else {"obproxy_sql_port": value})).sql_port == port


@pytest.mark.parametrize(
    ("group", "of_host", "allows"),
    [("yes", None, True), ("no", None, False), (None, None, False), (False, True, True), (False, "off", False)],
)
def test_a_cluster_permits_restarts_where_its_group_or_one_of_its_hosts_does(
    group: Any, of_host: Any, allows: bool
) -> None:
    said = {} if group is None else {"obproxy_allow_restart": group}
    member = host(1, obproxy_cluster_id=7, obproxy_allow_restart=said.get("obproxy_allow_restart"))
    if of_host is not None:
        member = host(1, obproxy_cluster_id=7, obproxy_allow_restart=of_host)
    other = host(2, "odp-2", obproxy_cluster_id=8, obproxy_allow_restart=True)
    assert view([member, other], [cluster(7, **said)]).clusters[7].allows_restart is allows


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: view([host(1, "a"), host(1, "b")], []), "a and b have the same ocp_host_id: 1"),
        (lambda: view([], [cluster(1, "g"), cluster(1, "h")]), "g and h have the same obproxy_cluster_id: 1"),
        (
            lambda: parse_id("1", "ocp_host_id of host a"),
            "ocp_host_id of host a must be a positive integer of at most 9223372036854775807, got '1'",
        ),
        (lambda: parse_id(2**63, "ocp_host_id of host a"), "at most 9223372036854775807, got 9223372036854775808"),
        (lambda: parse_id(True, "ocp_host_id of host a"), "got True"),
        (lambda: parse_id(0, "obproxy_cluster_id of group g"), "got 0"),
    ],
)
def test_invalid_inventories_are_rejected_by_name(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InventoryUnreadable, match=words):
        make()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a directory as a source, with variables behind a symbolic link, and a link that leads in a circle."""
    source = tmp_path / "inventory"
    source.mkdir()
    (source / "hosts.yml").write_text("all: {}\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "all.yml").write_text("x: 1\n")
    (source / "group_vars").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(source)
    return source


def edit_a_source(source: Path) -> None:
    (source / "hosts.yml").write_text("all:  {}\n")


def edit_behind_the_link(source: Path) -> None:
    (source / "group_vars" / "all.yml").write_text("x: 22\n")


def edit_to_the_same_size_and_time(source: Path) -> None:
    path = source / "group_vars" / "all.yml"
    before = path.stat()
    path.write_text("x: 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def add_a_file(source: Path) -> None:
    (source / "host_vars").mkdir()
    (source / "host_vars" / "odp-1.yml").write_text("x: 3\n")


@pytest.mark.parametrize(
    "edit", [edit_a_source, edit_behind_the_link, edit_to_the_same_size_and_time, add_a_file], ids=lambda f: f.__name__
)
def test_every_edit_below_a_directory_is_detected(tree: Path, edit: Callable[[Path], None]) -> None:
    before = sources.file_stamps(tree, [])
    assert sources.file_stamps(tree, []) == before
    edit(tree)
    assert sources.file_stamps(tree, []) != before


def test_variables_beside_a_file_and_the_vault_password_file_are_watched(tree: Path, tmp_path: Path) -> None:
    source, password = tree / "hosts.yml", tmp_path / "password"
    before = sources.file_stamps(source, [password])
    edit_behind_the_link(tree)
    edited = sources.file_stamps(source, [password])
    password.write_text("new")
    assert before != edited != sources.file_stamps(source, [password])


class Display:
    """Ansible's, as far as it is asked."""

    def debug(self, message: str) -> str:
        """Return its argument."""
        return message


@pytest.mark.parametrize(
    ("name", "failures", "words"),
    [
        ("a.yml", {"auto": "no root 'plugin' key found", "yaml": "bad", "ini": "worse"}, "a.yml: bad"),
        ("a.yml", {"auto": "no such plugin", "yaml": "Plugin configuration YAML file, not YAML inventory"}, "no such"),
        ("a.ini", {"ini": "bad"}, "a.ini: bad"),
        ("script.sh", {"script": "exit code 3", "ini": "worse"}, "script.sh: exit code 3"),
        ("a.json", {}, "a.json: no inventory plugin can read it"),
    ],
)
def test_a_source_that_was_meant_as_one_is_named_with_the_reason(
    tmp_path: Path, name: str, failures: dict[str, str], words: str
) -> None:
    path = tmp_path / name
    path.write_text("x")
    path.chmod(0o700 if name.endswith(".sh") else 0o600)
    heard = ParseErrors(Display(), tmp_path)
    for plugin, reason in failures.items():
        heard.error_as_warning(f"Failed to parse inventory with {plugin!r} plugin.", RuntimeError(reason))
    heard.warning(f"Unable to parse {path} as an inventory source")
    assert heard.debug("passed on") == "passed on"
    with pytest.raises(InventoryUnreadable, match=words):
        heard.raise_if_fatal()


@pytest.mark.parametrize("name", ["LICENSE", "Makefile", "id_ed25519", "ca.pem"])
def test_another_file_in_the_directory_is_a_warning(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    heard = ParseErrors(Display(), tmp_path)
    heard.error_as_warning("Failed to parse inventory with 'ini' plugin.", RuntimeError("bad"))
    heard.warning(f"Unable to parse {tmp_path / name} as an inventory source")
    heard.warning("Found both group and host with same name: web")
    heard.raise_if_fatal()
    assert heard.warnings == [f"{tmp_path / name}: bad", "Found both group and host with same name: web"]
