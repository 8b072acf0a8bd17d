"""What the service asks of an inventory that was read; each function works in a process that holds the reading."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.group import Group

from service.inventory import membership, records
from service.inventory.ansible_inventory import Held, Resolver, encrypted, plain, reason, vault_id
from service.inventory.records import SHOWN, Cluster, Host, View, positive
from service.outcome.masking import SECRET_NAME, secrets_in

MAGIC = ("hostvars", "groups")  # they lead to every host

Placed = Sequence[tuple[Host, str]]
"""Hosts, each with the group of the OBProxy cluster that it is to be in."""


def view(held: Held) -> View:
    """Return all hosts and OBProxy clusters, as far as they may be shown; raises InventoryUnreadable, AnsibleError."""
    resolver, warnings, opened = Resolver(held), list(held.warnings), set[str]()
    hosts, clusters = [], []
    for host in held.inventory.hosts.values():
        raw = resolver.raw(host)
        if raw.get("ocp_host_id") is not None:
            _open_one_of_each(raw, opened)
            variables = dict(_shown(resolver, raw, f"host {host.name}", warnings))
            identifier = positive(variables.get("ocp_host_id"), f"ocp_host_id of host {host.name}")
            hosts.append(Host(id=identifier, name=str(host.name), variables=variables))
    groups = list(_cluster_groups(held, resolver))
    held.clusters = tuple(str(group.name) for group in groups)
    for group in groups:
        raw = resolver.of_member(group)
        _open_one_of_each(raw, opened)
        clusters.append(_cluster(group, dict(_shown(resolver, raw, f"group {group.name}", None))))
    return records.view(hosts, clusters, warnings)


def in_clusters(held: Held, placed: Placed) -> list[Host]:
    """Return hosts with the variables that they have in these OBProxy clusters."""
    for host, group in placed:
        membership.join(held, host.name, group)
    resolver = Resolver(held)
    moved = []
    for host, _ in placed:
        raw = resolver.raw(held.inventory.hosts[host.name])
        moved.append(replace(host, variables=dict(_shown(resolver, raw, "", None))))
    return moved


def of_run(held: Held, host: str) -> tuple[dict[str, Any], frozenset[str]]:
    """Return all variables of a host before templates are resolved, and every secret among them."""
    resolver = Resolver(held)
    raw = resolver.raw(held.inventory.hosts[host])
    return raw, frozenset(secrets_of(resolver, raw))


def secrets(held: Held, host: Host, group: str | None) -> frozenset[str]:
    """Return every secret of a host, in the OBProxy cluster with this group; None = in the inventory's own."""
    if group is not None:
        membership.join(held, host.name, group)
    return of_run(held, host.name)[1]


def secrets_of(resolver: Resolver, raw: dict[str, Any]) -> Iterator[str]:
    """Return every secret in `raw`, as it stands there and as it is when its templates are resolved."""
    resolved = resolver.resolving(raw)
    for name, value in raw.items():
        if name in MAGIC:
            continue
        with suppress(AnsibleError):  # encrypted for another password than ours
            yield from secrets_in({name: plain(value)})
        if SECRET_NAME.search(name):
            with suppress(Exception):  # undefined for this host, or a lookup that fails
                yield from secrets_in({name: resolved(name)})


def _shown(
    resolver: Resolver, raw: dict[str, Any], owner: str, warnings: list[str] | None
) -> Iterator[tuple[str, Any]]:
    """Return what may be shown of `raw`. Of what cannot be resolved the text is shown, for a host with a warning."""
    resolved = resolver.resolving(raw)
    for name in SHOWN & raw.keys():
        try:
            yield name, resolved(name)
        except Exception as error:  # whatever a template or a lookup raises
            if warnings is not None:
                warnings.append(f"{name} of {owner} cannot be resolved: {reason(error)}")
                yield name, str(raw[name])


def _cluster_groups(held: Held, resolver: Resolver) -> Iterator[Group]:
    for group in held.inventory.groups.values():
        if "obproxy_cluster_id" in resolver.of_group(group):
            yield group


def _cluster(group: Group, variables: dict[str, Any]) -> Cluster:
    return Cluster(
        id=positive(variables.get("obproxy_cluster_id"), f"obproxy_cluster_id of group {group.name}"),
        name=str(variables.get("obproxy_cluster_name", group.name)),
        group=str(group.name),
        variables=variables,
    )


def _open_one_of_each(raw: dict[str, Any], opened: set[str]) -> None:
    """Raise AnsibleError when there is no password, or a wrong one, for what is encrypted in `raw`."""
    for name, value in raw.items():
        if name in MAGIC:
            continue
        for text in encrypted(value):
            if vault_id(text) not in opened:
                opened.add(vault_id(text))
                str(text)
