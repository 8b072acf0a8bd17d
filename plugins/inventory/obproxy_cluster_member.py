"""Inventory plugin obproxy_cluster_member: one more host in the group of an OBProxy cluster, for one run."""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.inventory.group import Group
from ansible.inventory.host import Host
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: obproxy_cluster_member
short_description: Makes a host a member of an OBProxy cluster
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - For a takeover into an OBProxy cluster that the inventory itself does not have the host in. The host becomes a
    member of the cluster's group, and leaves the groups of other OBProxy clusters, as if the inventory said so.
  - The service writes such a source for a run that needs it, and gives it to Ansible after the inventory.
options:
  plugin:
    description: Says that the file is for this plugin.
    required: true
    choices: [obproxy.takeover.obproxy_cluster_member]
  host:
    description: The host's name; an earlier source has it.
    type: str
    required: true
  group:
    description: The group of the OBProxy cluster; an earlier source has it.
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
    """Reads one membership."""

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
