"""Queries of the service to a loaded inventory. They run in a snapshot process or in a fork of it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.group import Group

from service.inventory import membership, records
from service.inventory.ansible_inventory import (
    LoadedInventory,
    VariableResolver,
    encrypted_strings,
    error_message,
    plain,
    vault_header,
)
from service.inventory.records import PUBLIC_VARIABLES, Cluster, Host, View, parse_id
from service.outcome.masking import SECRET_NAME, secrets_in

MAGIC_VARIABLES = ("hostvars", "groups")  # they contain the variables of all hosts

Memberships = Sequence[tuple[Host, str]]
"""Hosts, each with the group of the OBProxy cluster that it is taken over into."""


def view(loaded: LoadedInventory) -> View:
    """Return the public variables of all hosts and OBProxy clusters; raises InventoryUnreadable and AnsibleError."""
    resolver, warnings, decrypted = VariableResolver(loaded), list(loaded.warnings), set[str]()
    hosts, clusters = [], []
    for host in loaded.inventory.hosts.values():
        raw = resolver.raw(host)
        if raw.get("ocp_host_id") is not None:
            _check_vault_passwords(raw, decrypted)
            variables = dict(_public(resolver, raw, f"host {host.name}", warnings))
            identifier = parse_id(variables.get("ocp_host_id"), f"ocp_host_id of host {host.name}")
            hosts.append(Host(id=identifier, name=str(host.name), variables=variables))
    groups = list(_cluster_groups(loaded, resolver))
    loaded.clusters = tuple(str(group.name) for group in groups)
    for group in groups:
        raw = resolver.of_member(group)
        _check_vault_passwords(raw, decrypted)
        clusters.append(_cluster(group, dict(_public(resolver, raw, f"group {group.name}", None))))
    return records.view(hosts, clusters, warnings)


def in_clusters(loaded: LoadedInventory, memberships: Memberships) -> list[Host]:
    """Return the hosts with their public variables in these OBProxy clusters."""
    for host, group in memberships:
        membership.join(loaded, host.name, group)
    resolver = VariableResolver(loaded)
    moved = []
    for host, _ in memberships:
        raw = resolver.raw(loaded.inventory.hosts[host.name])
        moved.append(replace(host, variables=dict(_public(resolver, raw, "", None))))
    return moved


def variables_and_secrets(loaded: LoadedInventory, host: str) -> tuple[dict[str, Any], frozenset[str]]:
    """Return all variables of a host, not templated, and every secret among them."""
    resolver = VariableResolver(loaded)
    raw = resolver.raw(loaded.inventory.hosts[host])
    return raw, frozenset(secrets_of(resolver, raw))


def secrets(loaded: LoadedInventory, host: Host, group: str | None) -> frozenset[str]:
    """Return every secret of a host in the OBProxy cluster with this group; None = the inventory's own group."""
    if group is not None:
        membership.join(loaded, host.name, group)
    return variables_and_secrets(loaded, host.name)[1]


def secrets_of(resolver: VariableResolver, raw: dict[str, Any]) -> Iterator[str]:
    """Yield every secret in `raw`, both as written and templated."""
    templated = resolver.templated(raw)
    for name, value in raw.items():
        if name in MAGIC_VARIABLES:
            continue
        with suppress(AnsibleError):  # encrypted with a vault password that the service does not have
            yield from secrets_in({name: plain(value)})
        if SECRET_NAME.search(name):
            with suppress(Exception):  # undefined for this host, or a lookup that fails
                yield from secrets_in({name: templated(name)})


def _public(
    resolver: VariableResolver, raw: dict[str, Any], owner: str, warnings: list[str] | None
) -> Iterator[tuple[str, Any]]:
    """Yield the public variables in `raw`.

    A variable that cannot be templated is left out. With `warnings`, its text is yielded and a warning is appended.
    """
    templated = resolver.templated(raw)
    for name in PUBLIC_VARIABLES & raw.keys():
        try:
            yield name, templated(name)
        except Exception as error:  # a template or a lookup can raise anything
            if warnings is not None:
                warnings.append(f"{name} of {owner} cannot be templated: {error_message(error)}")
                yield name, str(raw[name])


def _cluster_groups(loaded: LoadedInventory, resolver: VariableResolver) -> Iterator[Group]:
    for group in loaded.inventory.groups.values():
        if "obproxy_cluster_id" in resolver.of_group(group):
            yield group


def _cluster(group: Group, variables: dict[str, Any]) -> Cluster:
    return Cluster(
        id=parse_id(variables.get("obproxy_cluster_id"), f"obproxy_cluster_id of group {group.name}"),
        name=str(variables.get("obproxy_cluster_name", group.name)),
        group=str(group.name),
        variables=variables,
    )


def _check_vault_passwords(raw: dict[str, Any], decrypted: set[str]) -> None:
    """Decrypt one value per vault header in `raw`; raises AnsibleError when the password is missing or wrong.

    `decrypted` are the headers that were checked before; new ones are added.
    """
    for name, value in raw.items():
        if name in MAGIC_VARIABLES:
            continue
        for text in encrypted_strings(value):
            if vault_header(text) not in decrypted:
                decrypted.add(vault_header(text))
                str(text)  # decrypts
