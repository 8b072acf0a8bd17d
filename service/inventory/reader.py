"""Keeps the last good reading of the Ansible inventory, and reads again when its files change.

A host that may be taken over carries `ocp_host_id`; a group that carries `obproxy_cluster_id` is an OBProxy cluster.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import cast

from service.inventory import environment, sources
from service.inventory.process import Reading
from service.inventory.records import Cluster, Host, View
from service.model.errors import InventoryUnreadable
from service.model.settings import PROJECT, Settings
from service.outcome.masking import hiding

log = logging.getLogger(__name__)

MAX_AGE = 60.0  # seconds after which an unchanged inventory is read again: a plugin's source is not a file
MAX_SHARE = 0.05  # of the time that may be spent on that
VAULT_HINT = "set TAKEOVER_VAULT_PASSWORD_FILE to the file, or the program, with the password of Ansible Vault"


@dataclass(frozen=True, kw_only=True)
class Inventory(View):
    """Everything by its OCP id, and the reading that knows the rest."""

    reading: Reading = field(repr=False, compare=False)

    async def in_cluster(self, cluster: Cluster, hosts: Sequence[Host]) -> list[Host]:
        """Return hosts as a run sees them that takes them over into `cluster`; raises InventoryUnreadable."""
        placed = [(host, cluster.group) for host in hosts if not host.is_in(cluster)]
        if not placed:
            return list(hosts)
        moved = {host.id: host for host in await self.reading.ask("in_clusters", placed)}
        return [moved.get(host.id, host) for host in hosts]

    async def mask(self, cluster: Cluster, host: Host) -> Callable[[str], str]:
        """Return a function that hides every secret of a host and its OBProxy cluster; raises InventoryUnreadable."""
        group = None if host.is_in(cluster) else cluster.group
        return hiding(cast("frozenset[str]", await self.reading.ask("secrets", host, group)))


class InventoryReader:
    """Knows when to read, and which reading counts."""

    def __init__(
        self, source: Path, vault_password_file: Path | None = None, environment_names: Iterable[str] = ()
    ) -> None:
        self.source = source
        self._vault_password_file = vault_password_file
        self._passed_on = environment.named(environment_names)  # now: PG* variables are removed later
        self.problem: str | None = None
        """Why the last reading failed."""
        self._good: Inventory | None = None
        self._stamp: object = None
        self._begun = 0  # readings
        self._counts = 0  # the number of the reading whose outcome counts
        self._read_at = 0.0
        self._took = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def current(self) -> Inventory:
        """The inventory as it is now, or as it last was when it cannot be read; raises InventoryUnreadable if never."""
        async with self._lock:
            stamp = await asyncio.to_thread(self._stamped)
            if stamp != self._stamp or not (self._good is None or self._good.reading.is_alive()):
                await self._read()
                self._stamp = stamp
            elif self._is_old() and (self._reading is None or self._reading.done()):
                # Nobody waits for this one: what a plugin reads has probably not changed either.
                self._reading = asyncio.create_task(self._read(), name="inventory")
        if self._good is None:
            raise InventoryUnreadable(reason=self.problem)
        return self._good

    def _stamped(self) -> object:
        beside = [PROJECT / "playbooks" / name for name in sources.VARIABLES]
        return sources.stamped(self.source, [*beside, *filter(None, [self._vault_password_file])])

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at > max(MAX_AGE, self._took / MAX_SHARE)

    async def _read(self) -> None:
        """Read it; of two readings at the same time, the one that began later counts."""
        self._begun += 1
        number, self._read_at = self._begun, time.monotonic()
        try:
            found, problem = await read(self.source, self._vault_password_file, self._passed_on), None
        except InventoryUnreadable as error:
            found, problem = None, str(error.details["reason"])
        self._took = time.monotonic() - self._read_at
        if number < self._counts:
            return
        self._counts, self.problem = number, problem
        if found is None:
            kept = "using the last good one" if self._good else "there is none to use instead"
            log.error("The inventory cannot be read: %s; %s", problem, kept, extra={"action": "inventory_unreadable"})
            return
        if self._good is None or found.warnings != self._good.warnings:
            for warning in found.warnings:
                log.warning("Inventory %s: %s", self.source, warning, extra={"action": "inventory_warning"})
        self._good = found


def of_settings(settings: Settings) -> InventoryReader:
    """Return a reader of the inventory that the settings name; nothing is read yet."""
    return InventoryReader(settings.inventory, settings.vault_password_file, settings.inventory_environment_names)


async def read(
    source: Path, vault_password_file: Path | None = None, passed_on: Mapping[str, str] = MappingProxyType({})
) -> Inventory:
    """Read the inventory at `source`; raises InventoryUnreadable with Ansible's own words (file and line)."""
    added = environment.of_inventory(vault_password_file, passed_on)
    try:
        reading = await asyncio.to_thread(Reading, source, added)
        view = await reading.view()
    except OSError as error:
        raise InventoryUnreadable(reason=f"{source}: {error}") from None
    except InventoryUnreadable as error:
        reason = str(error.details["reason"])
        hint = f"; {VAULT_HINT}" if "vault secrets" in reason and not vault_password_file else ""
        raise InventoryUnreadable(reason=f"{reason.removesuffix('.')}{hint}") from None
    return Inventory(hosts=view.hosts, clusters=view.clusters, warnings=view.warnings, reading=reading)
