"""Inventory plugin obproxy_cluster_member: adds a host to the group of an OBProxy cluster, for one run."""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.inventory.group import Group
from ansible.inventory.host import Host
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: obproxy_cluster_member
short_description: Make a host a member of an OBProxy cluster
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Adds a host to the group of an OBProxy cluster, and removes it from the groups of other OBProxy clusters. The
    variables are then as if the inventory itself contained this membership.
  - The service writes a file for this plugin for a takeover into a cluster that the host is not a member of. It is the
    last inventory source of the run.
options:
  plugin:
    description: The name of this plugin.
    required: true
    choices: [obproxy.takeover.obproxy_cluster_member]
  host:
    description: The name of a host in an earlier source.
    type: str
    required: true
  group:
    description: The group of the OBProxy cluster in an earlier source.
    type: str
    required: true
  clusters:
    description: The groups of all OBProxy clusters.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
plugin: obproxy.takeover.obproxy_cluster_member
host: odp-3
group: test
clusters: [test, legacy]
"""


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc] # Ansible is untyped
    """Adds one host to the group of one cluster."""

    NAME = "obproxy_cluster_member"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Change the groups of the host."""
        super().parse(inventory, loader, path, cache)
        wanted = loader.load_from_file(path, cache="none")
        try:
            join(inventory, str(wanted["host"]), str(wanted["group"]), list(map(str, wanted["clusters"])))
        except KeyError as missing:
            raise AnsibleParserError(f"{path}: {missing} is missing, or no earlier source has it") from missing


def join(inventory: InventoryData, host_name: str, group_name: str, clusters: list[str]) -> None:
    """Make a host a member of a cluster's group, and of no other cluster's; raises KeyError for an unknown name."""
    host, group = inventory.hosts[host_name], inventory.groups[group_name]
    others = {inventory.groups[name] for name in clusters if name != group_name} - group.get_ancestors()
    for former in _directly_in(inventory, host):
        if former in others or not others.isdisjoint(former.get_ancestors()) or former.name == "ungrouped":
            former.remove_host(host)
    inventory.add_child(group_name, host_name)


def _directly_in(inventory: InventoryData, host: Host) -> list[Group]:
    return [group for group in inventory.groups.values() if host.name in group.host_names]
