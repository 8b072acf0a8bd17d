"""Keeps the last good snapshot of the Ansible inventory and reads the inventory again when its files change.

A host with `ocp_host_id` is available for takeover. A group with `obproxy_cluster_id` is an OBProxy cluster.
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
from service.inventory.records import Cluster, Host, View
from service.inventory.snapshot import InventorySnapshot
from service.model.errors import InventoryUnreadable
from service.model.settings import PROJECT, Settings
from service.outcome.masking import hiding

log = logging.getLogger(__name__)

MAX_AGE = 60.0  # seconds until an inventory with unchanged files is read again: a plugin reads other sources
MAX_TIME_SHARE = 0.05  # share of the time that may be spent on that
VAULT_HINT = (
    "set TAKEOVER_VAULT_PASSWORD_FILE to the Ansible Vault password file, or to an executable that prints the password"
)


@dataclass(frozen=True, kw_only=True)
class Inventory(View):
    """Hosts and OBProxy clusters by OCP id, with the snapshot that they come from."""

    snapshot: InventorySnapshot = field(repr=False, compare=False)

    async def in_cluster(self, cluster: Cluster, hosts: Sequence[Host]) -> list[Host]:
        """Return `hosts` with the variables of a takeover into `cluster`; raises InventoryUnreadable."""
        memberships = [(host, cluster.group) for host in hosts if not host.is_in(cluster)]
        if not memberships:
            return list(hosts)
        moved = {host.id: host for host in await self.snapshot.query("in_clusters", memberships)}
        return [moved.get(host.id, host) for host in hosts]

    async def mask(self, cluster: Cluster, host: Host) -> Callable[[str], str]:
        """Return a function that masks every secret of `host` in `cluster`; raises InventoryUnreadable."""
        group = None if host.is_in(cluster) else cluster.group
        return hiding(cast("frozenset[str]", await self.snapshot.query("secrets", host, group)))


class InventoryReader:
    """Decides when to read the inventory and which snapshot is current."""

    def __init__(
        self, source: Path, vault_password_file: Path | None = None, environment_names: Iterable[str] = ()
    ) -> None:
        self.source = source
        self._vault_password_file = vault_password_file
        self._passed_on = environment.selected(environment_names)  # now: PG* variables are removed later
        self.problem: str | None = None
        """Reason why the last attempt failed; None after a success."""
        self._last_good: Inventory | None = None
        self._stamp: object = None
        self._started = 0  # number of attempts
        self._current = 0  # number of the attempt with the current result
        self._read_at = 0.0
        self._duration = 0.0
        self._background_read: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def current(self) -> Inventory:
        """Return the inventory, or the last good one while it cannot be read.

        Raises InventoryUnreadable when it could never be read.
        """
        async with self._lock:
            stamp = await asyncio.to_thread(self._file_stamps)
            if stamp != self._stamp or not (self._last_good is None or self._last_good.snapshot.is_alive()):
                await self._read()
                self._stamp = stamp
            elif self._is_old() and (self._background_read is None or self._background_read.done()):
                # In the background: the sources of a plugin have probably not changed either.
                self._background_read = asyncio.create_task(self._read(), name="inventory")
        if self._last_good is None:
            raise InventoryUnreadable(reason=self.problem)
        return self._last_good

    def _file_stamps(self) -> object:
        beside = [PROJECT / "playbooks" / name for name in sources.VARIABLE_DIRECTORIES]
        return sources.file_stamps(self.source, [*beside, *filter(None, [self._vault_password_file])])

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at > max(MAX_AGE, self._duration / MAX_TIME_SHARE)

    async def _read(self) -> None:
        """Read the inventory. Of two concurrent attempts, the result of the later one is used."""
        self._started += 1
        number, self._read_at = self._started, time.monotonic()
        try:
            found, problem = await read(self.source, self._vault_password_file, self._passed_on), None
        except InventoryUnreadable as error:
            found, problem = None, str(error.details["reason"])
        self._duration = time.monotonic() - self._read_at
        if number < self._current:
            return
        self._current, self.problem = number, problem
        if found is None:
            effect = "using the last good one" if self._last_good else "there is none to use instead"
            log.error("The inventory cannot be read: %s; %s", problem, effect, extra={"action": "inventory_unreadable"})
            return
        if self._last_good is None or found.warnings != self._last_good.warnings:
            for warning in found.warnings:
                log.warning("Inventory %s: %s", self.source, warning, extra={"action": "inventory_warning"})
        self._last_good = found


def of_settings(settings: Settings) -> InventoryReader:
    """Return a reader of the inventory in the settings, without reading it yet."""
    return InventoryReader(settings.inventory, settings.vault_password_file, settings.inventory_environment_names)


async def read(
    source: Path, vault_password_file: Path | None = None, passed_on: Mapping[str, str] = MappingProxyType({})
) -> Inventory:
    """Read the inventory at `source`; raises InventoryUnreadable with Ansible's message (file and line)."""
    added = environment.for_inventory(vault_password_file, passed_on)
    try:
        snapshot = await asyncio.to_thread(InventorySnapshot, source, added)
        view = await snapshot.view()
    except OSError as error:
        raise InventoryUnreadable(reason=f"{source}: {error}") from None
    except InventoryUnreadable as error:
        reason = str(error.details["reason"])
        hint = f"; {VAULT_HINT}" if "vault secrets" in reason and not vault_password_file else ""
        raise InventoryUnreadable(reason=f"{reason.removesuffix('.')}{hint}") from None
    return Inventory(hosts=view.hosts, clusters=view.clusters, warnings=view.warnings, snapshot=snapshot)
