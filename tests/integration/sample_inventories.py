"""Inventories of every kind, each with the host that a takeover of is compared with a direct run."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import vault
from tests.integration.inventories import Unsafe, write

VAULT_PASSWORD = "opens the samples"
CLUSTER = {"obproxy_cluster_id": 1, "obproxy_cluster_name": "test"}


@dataclass(frozen=True, kw_only=True)
class SampleInventory:
    """One inventory, and one of its hosts."""

    source: Path
    host: str = "b"
    vault: Path | None = None
    names: tuple[str, ...] = ()


def _tree(hosts: dict[str, Any], children: dict[str, Any], **variables: Any) -> dict[str, Any]:
    return {"all": {"vars": variables, "hosts": hosts, "children": children}}


def _member(**variables: Any) -> dict[str, Any]:
    """Return the group of an OBProxy cluster with host b."""
    return {"vars": {**CLUSTER, **variables}, "hosts": {"b": {}}}


def _file(directory: Path, tree: dict[str, Any]) -> SampleInventory:
    source = directory / "hosts.yml"
    write(source, tree)
    return SampleInventory(source=source)


def precedence(directory: Path) -> SampleInventory:
    """Return a value of every level, each over the ones above."""
    tree = _tree(
        {"a": {"ocp_host_id": 1}, "b": {"ocp_host_id": 2, "ansible_user": "ops", "obproxy_allow_restart": False}},
        {
            "test": _member(obproxy_allow_restart=True, ansible_port=2222, ansible_user="cluster", from_cluster="c"),
            "sibling": {"hosts": {"b": {}}, "vars": {"ansible_port": 2223, "ansible_user": "sibling"}},
        },
        ansible_user="nobody-such",
        ansible_port=1,
        obproxy_agent_home="/a",
    )
    tree["all"]["hosts"]["b"]["obproxy_agent_home"] = "/opt/agent"
    return _file(directory, tree)


def templated_address(directory: Path) -> SampleInventory:
    """Return an address that needs the order of all hosts."""
    address = "{{ net }}.{{ groups['all'].index(inventory_hostname) + 10 }}"
    hosts = {name: {"ocp_host_id": number, "ansible_host": address} for number, name in enumerate("abc", 1)}
    return _file(directory, _tree(hosts, {"test": _member()}, net="10.89.4"))


def templates_about_groups(directory: Path) -> SampleInventory:
    """Return a cluster's values that depend on the host's groups, on other hosts and on their variables."""
    value = "{{ '700ms' if 'big' in group_names else '300ms' }}"
    children = {
        "test": _member(
            obproxy_parameters={"slow_query_time_threshold": value},
            obproxy_rs_list="{{ groups['observers'] | map('extract', hostvars, 'ansible_host') | join(';') }}",
            obproxy_config_server_url="http://{{ hostvars['cfg'].ansible_host }}/services",
            nowhere="{{ hostvars['nobody'].ansible_host }}",
        ),
        "big": {"hosts": {"b": {}}},
        "observers": {"hosts": {"o1": {"ansible_host": "192.0.2.1"}, "o2": {"ansible_host": "192.0.2.2"}}},
    }
    hosts = {"a": {"ocp_host_id": 1}, "b": {"ocp_host_id": 2}, "cfg": {"ansible_host": "192.0.2.9"}}
    return _file(directory, _tree(hosts, children))


def connections(directory: Path) -> SampleInventory:
    """Return a key beside the inventory, a jump host, an old name of a variable, another shell."""
    jump = "-o ProxyCommand=\"ssh -W %h:%p ops@{{ hostvars['bastion'].ansible_host }}\""
    hosts = {
        "bastion": {"ansible_host": "192.0.2.99"},
        "b": {
            "ocp_host_id": 2,
            "ansible_host": "192.0.2.1",
            "ansible_ssh_host": "192.0.2.2",
            "ansible_ssh_private_key_file": "{{ inventory_dir }}/../keys/id",
            "ansible_ssh_common_args": jump,
            "ansible_ssh_extra_args": "-o ConnectTimeout={{ 3 + 4 }}",
            "ansible_become": True,
            "ansible_become_user": "{{ owner }}",
            "ansible_shell_executable": "/bin/bash",
        },
    }
    return _file(directory, _tree(hosts, {"test": _member(owner="admin")}))


def priorities(directory: Path) -> SampleInventory:
    """Return a cluster's group below two parents, and groups of one depth with priorities."""
    tree = _tree(
        {"b": {"ocp_host_id": 2}},
        {
            "zone": {"vars": {"obproxy_start_mode": "config_url", "depth": "zone"}, "children": {"test": _member()}},
            "area": {
                "vars": {"ansible_group_priority": 10, "obproxy_start_mode": "rs_list", "depth": "area"},
                "children": {"test": {}},
            },
            "one": {"vars": {"ansible_group_priority": 5, "who": "one"}, "hosts": {"b": {}}},
            "two": {"vars": {"who": "two"}, "hosts": {"b": {}}},
        },
        obproxy_start_mode="config_url",
    )
    return _file(directory, tree)


INI = """
[all:vars]
net=10.0.0
[web]
node[01:03].example ansible_host="{{ net }}.{{ inventory_hostname[4:6] | int }}" ocp_host_id=7
b ocp_host_id=2 weight=5 flag=True ports="[1, 2]"
[test]
b
[test:vars]
obproxy_cluster_id=1
obproxy_cluster_name=test
text=false
[region:children]
test
web
[region:vars]
where=region
"""


def ini(directory: Path) -> SampleInventory:
    """INI with ranges, children and variables of groups."""
    source = directory / "hosts"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(INI.replace("ocp_host_id=7", ""), encoding="utf-8")
    return SampleInventory(source=source)


def many_sources(directory: Path) -> SampleInventory:
    """Return a directory with a source of each kind, files that are none, and variables in directories."""
    source = directory / "inventory"
    write(source / "10-hosts.yml", _tree({"b": {"ocp_host_id": 2, "tier": "gold"}, "y[1:3]": {}}, {}))
    (source / "20-groups.ini").write_text("[test]\nb\n[test:vars]\nobproxy_cluster_id=1\n", encoding="utf-8")
    script = source / "30-script.py"
    script.write_text(
        f"#!{sys.executable}\nimport json, os\n"
        "print(json.dumps({'scripted': {'hosts': ['b', 's1'], 'vars': {'server': os.environ.get('SQL_SERVER')}},"
        " '_meta': {'hostvars': {'s1': {'x': 1}, 'b': {'of_script': '{{ tier }}'}}}}))\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    write(
        source / "40-constructed.yml",
        {
            "plugin": "ansible.builtin.constructed",
            "strict": False,
            "compose": {"composed": "tier ~ '-' ~ inventory_hostname"},
            "groups": {"golden": "tier == 'gold'"},
            "keyed_groups": [{"prefix": "tier", "key": "tier"}],
        },
    )
    write(source / "group_vars" / "golden" / "a.yml", {"rank": 1, "dict": {"a": 1}})
    write(source / "group_vars" / "golden" / "b.yml", {"rank": 2, "dict": {"b": 2}})
    write(source / "group_vars" / "all.yml", {"rank": 0, "everywhere": "{{ rank }}"})
    write(source / "host_vars" / "b.yml", {"own": "{{ rank + 1 }}", "tier": "silver"})
    for name in ("LICENSE", "Makefile", "id_ed25519"):
        (source / name).write_text("all:\n\tnothing of an inventory: it is [not\n", encoding="utf-8")
    return SampleInventory(source=source, names=("SQL_SERVER",))


def variables_beside(directory: Path) -> SampleInventory:
    """Return a file with group_vars and host_vars beside it, one of them behind a symbolic link."""
    sample = _file(directory / "inventory", _tree({"b": {"ocp_host_id": 2, "v": "inline"}}, {"test": _member(w="in")}))
    elsewhere = directory / "elsewhere"
    write(elsewhere / "test.yml", {"v": "group", "w": "file", "x": "{{ v }}"})
    (directory / "inventory" / "group_vars").symlink_to(elsewhere)
    write(directory / "inventory" / "host_vars" / "b.yml", {"v": "host"})
    return sample


def vaulted(directory: Path) -> SampleInventory:
    """Return a value that is encrypted by itself, a file that is as a whole, and values that use them."""
    password = directory / "password"
    password.parent.mkdir(parents=True, exist_ok=True)
    password.write_text(VAULT_PASSWORD, encoding="utf-8")
    sample = _file(
        directory / "inventory", _tree({"b": {"ocp_host_id": 2}}, {"test": _member(u="{{ inline }}+{{ w }}")})
    )
    variables = directory / "inventory" / "group_vars" / "test"
    variables.mkdir(parents=True)
    whole = vault.encrypted(VAULT_PASSWORD, '{w: "File#1", nested: {deep: ["{{ w }}"]}}')
    (variables / "whole.yml").write_text(whole, encoding="utf-8")
    inline = vault.encrypted_value(VAULT_PASSWORD, "inline", "Inline#1")
    (variables / "inline.yml").write_text(inline, encoding="utf-8")
    return SampleInventory(source=sample.source, vault=password)


def data(directory: Path) -> SampleInventory:
    """Text that is no template, odd characters, and every type."""
    text = Unsafe("{{ 1 }} {% raw %} \\ 'it' \"is\" é \U0001f600 # : !unsafe\t\n")
    values = {"unsafe": text, "types": [1, 1.5, None, True, "yes", {"a b": [text]}], "day": "2026-01-01", "empty": ""}
    return _file(directory, _tree({"b": {"ocp_host_id": 2, **values}}, {"test": _member()}))


def _named(name: str) -> Callable[[Path], SampleInventory]:
    def make(directory: Path) -> SampleInventory:
        source = directory / "script.py"
        source.parent.mkdir(parents=True, exist_ok=True)
        told = {
            "test": {"hosts": [name, "web", "h1", "h2", "a", "22"], "vars": CLUSTER},
            "_meta": {"hostvars": {name: {"ocp_host_id": 2, "mine": "yes"}}},
        }
        source.write_text(f"#!{sys.executable}\nimport json\nprint(json.dumps({told!r}))\n", encoding="utf-8")
        source.chmod(0o755)
        return SampleInventory(source=source, host=name)

    return make


SAMPLES: dict[str, Callable[[Path], SampleInventory]] = {
    make.__name__: make
    for make in (
        *(precedence, templated_address, templates_about_groups, connections, priorities),
        *(ini, many_sources, variables_beside, vaulted, data),
    )
}
ODD_NAMES = ["web:22", "h[1:3]", "a,b", "@file", "!web", "&web", "~web", "fe80::1", "*", "a b"]
named = _named
