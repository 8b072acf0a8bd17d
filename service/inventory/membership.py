"""Adds a host to the OBProxy cluster that a request names, when the inventory does not have it there.

The inventory plugin `obproxy_cluster_member` changes the groups, in a run and in a snapshot process.
"""

import importlib
import json
from collections.abc import Sequence
from typing import Any

from ansible.plugins.loader import inventory_loader

from service.inventory.ansible_inventory import LoadedInventory

PLUGIN = "obproxy.takeover.obproxy_cluster_member"


def inventory_source(host: str, group: str, clusters: Sequence[str]) -> str:
    """Return an inventory source (JSON) that moves `host` to `group` and out of the other groups in `clusters`."""
    return json.dumps({"plugin": PLUGIN, "host": host, "group": group, "clusters": list(clusters)})


def join(loaded: LoadedInventory, host: str, group: str) -> None:
    """Move `host` to `group` in a loaded inventory. Only for a forked process that ends after its query."""
    plugin = inventory_loader.get(PLUGIN)
    module: Any = importlib.import_module(type(plugin).__module__)
    module.join(loaded.inventory._inventory, host, group, list(loaded.clusters))
    loaded.inventory.clear_caches()
