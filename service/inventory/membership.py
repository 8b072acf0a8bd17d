"""A host's membership in the OBProxy cluster that a request names, where the inventory itself has it elsewhere.

The plugin `obproxy_cluster_member` (plugins/inventory) changes the groups, here and in a run.
"""

import importlib
import json
from collections.abc import Sequence
from typing import Any

from ansible.plugins.loader import inventory_loader

from service.inventory.ansible_inventory import Held

PLUGIN = "obproxy.takeover.obproxy_cluster_member"


def source(host: str, group: str, clusters: Sequence[str]) -> str:
    """Return the text of an inventory source that makes `host` a member of the OBProxy cluster with this group."""
    return json.dumps({"plugin": PLUGIN, "host": host, "group": group, "clusters": list(clusters)})


def join(held: Held, host: str, group: str) -> None:
    """Do the same to what is held: for a forked process, which no run is forked from."""
    plugin = inventory_loader.get(PLUGIN)
    module: Any = importlib.import_module(type(plugin).__module__)
    module.join(held.inventory._inventory, host, group, list(held.clusters))
    held.inventory.clear_caches()
