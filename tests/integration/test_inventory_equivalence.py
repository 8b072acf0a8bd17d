"""Compares the values, connection and groups of a run with those of a direct ansible-playbook, for many inventories."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.inventory import environment
from tests.forks.server import ANSIBLE, Server
from tests.integration import probe, sample_inventories
from tests.integration.inventories import write
from tests.integration.sample_inventories import SampleInventory


@pytest.mark.parametrize("kind", sample_inventories.SAMPLES)
async def test_a_run_gets_the_same_inventory_as_a_direct_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQL_SERVER", "the-server")
    sample = sample_inventories.SAMPLES[kind](tmp_path / "inventory")

    direct = probe.directly(sample, tmp_path / "direct")
    ours = await probe.by_service(sample, tmp_path / "ours")

    assert ours == direct


async def test_a_run_that_is_not_forked_gets_the_same_inventory(tmp_path: Path) -> None:
    sample = sample_inventories.priorities(tmp_path / "inventory")
    direct = probe.directly(sample, tmp_path / "direct")
    assert await probe.by_service(sample, tmp_path / "ours", start="plain") == direct


@pytest.mark.parametrize("name", sample_inventories.ODD_NAMES)
async def test_a_name_means_one_host_whatever_is_in_it(name: str, tmp_path: Path) -> None:
    sample = sample_inventories.named(name)(tmp_path / "inventory")

    seen = await probe.by_service(sample, tmp_path / "ours")

    assert seen["variables"]["inventory_hostname"] == name
    assert seen["variables"]["mine"] == "yes"
    assert seen["variables"]["ansible_play_hosts"] == [name]


GROUPS = ["alpha", "beta", "gamma", "delta"]
NAMES = ["one", "two", "obproxy_agent_home", "obproxy_allow_restart"]
VALUES = st.sampled_from(
    [
        *(1, True, "text", None, [1, 2], {"k": "v"}),
        *("{{ one | default('none') }}", "{{ group_names | join(',') }}", "{{ groups['alpha'] | length }}"),
        *("{{ hostvars['a'].two | default('none') }}", "{{ inventory_hostname }}-{{ undefined_here }}"),
    ]
)
VARIABLES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a server of forked playbooks: a program takes twice the CPU time."""
    started = Server(ANSIBLE, environment.common())
    yield started
    started.close()


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """Draw nested groups with variables and priorities; a child comes later in the list, so there is no cycle."""
    groups: dict[str, Any] = {}
    for number, name in enumerate(GROUPS):
        variables = draw(VARIABLES)
        if draw(st.booleans()):
            variables = {**variables, "ansible_group_priority": draw(st.integers(0, 3))}
        children = draw(st.sets(st.sampled_from(GROUPS[number + 1 :]))) if GROUPS[number + 1 :] else set()
        hosts = draw(st.sets(st.sampled_from(["a", "b", "c"])))
        groups[name] = {
            "vars": variables,
            "hosts": {host: {} for host in sorted(hosts)},
            "children": {child: {} for child in sorted(children)},
        }
    cluster = draw(st.sampled_from(GROUPS))
    groups[cluster]["vars"] |= sample_inventories.CLUSTER
    groups[cluster]["hosts"]["b"] = {}
    every = {name: {**draw(VARIABLES), "ocp_host_id": number} for number, name in enumerate("abc", 1)}
    return {"all": {"vars": draw(VARIABLES), "hosts": every, "children": groups}}


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],  # making one smaller would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=trees(), of_group=VARIABLES, of_host=VARIABLES)
async def test_any_combination_of_groups_is_the_same(
    tree: dict[str, Any],
    of_group: dict[str, Any],
    of_host: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    server: Server,
) -> None:
    directory = tmp_path_factory.mktemp("generated")
    source = directory / "inventory" / "hosts.yml"
    write(source, tree)
    write(source.parent / "group_vars" / "gamma.yml", of_group)
    write(source.parent / "host_vars" / "b.yml", of_host)

    direct = probe.directly(SampleInventory(source=source), directory / "direct", server)

    assert await probe.by_service(SampleInventory(source=source), directory / "ours") == direct


async def test_a_host_that_the_inventory_has_elsewhere_becomes_a_member_for_the_run(tmp_path: Path) -> None:
    """The host leaves the groups of other clusters, and Ansible's precedence applies."""
    host = {"ocp_host_id": 2, "mine": "host"}
    other = {
        "vars": {"obproxy_cluster_id": 2, "mine": "other", "of_other": "x", "shared": "z"},
        "children": {"rack": {"hosts": {"b": {}}, "vars": {"of_rack": "r"}}},
    }
    wanted = {"vars": {"obproxy_cluster_id": 1, "mine": "cluster", "shared": "a", "port": "{{ base + 1 }}"}}
    rest = {"site": {"hosts": {"b": {}}, "vars": {"of_site": "s"}}}
    tree = {
        "all": {"vars": {"base": 1}, "hosts": {"b": host}, "children": {"a_test": wanted, "z_other": other, **rest}}
    }
    write(tmp_path / "hosts.yml", tree)
    emptied = {**other, "children": {"rack": {"vars": {"of_rack": "r"}}}}
    children = {"a_test": {**wanted, "hosts": {"b": {}}}, "z_other": emptied, **rest}
    moved = {**tree["all"], "children": children}
    write(tmp_path / "moved.yml", {"all": moved})

    expected = probe.directly(SampleInventory(source=tmp_path / "moved.yml"), tmp_path / "direct")
    seen = await probe.by_service(SampleInventory(source=tmp_path / "hosts.yml"), tmp_path / "ours", cluster=1)
    plain = await probe.by_service(
        SampleInventory(source=tmp_path / "hosts.yml"), tmp_path / "plain", cluster=1, start="plain"
    )

    for variables in (expected["variables"], seen["variables"], plain["variables"]):
        for name in ("inventory_file", "ansible_inventory_sources"):
            del variables[name]
    assert seen["variables"] == plain["variables"] == expected["variables"]
    assert seen["variables"]["group_names"] == ["a_test", "site"]
    assert (seen["variables"]["mine"], seen["variables"]["shared"], seen["variables"]["port"]) == ("host", "a", 2)
