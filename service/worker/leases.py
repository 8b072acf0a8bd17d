"""Run leases: renews them in the database, then sends each run its renewal.

A worker that cannot reach the database, or that is suspended, cannot renew its leases. Its runs terminate themselves
(`spec.LEASE_DURATION`) before another worker considers their leases expired (`expiry.EXPIRY_TIMEOUT`). So a task
instance never has two runs at the same time, even when its job is queued twice.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from service.observe.metrics import RUNS_HELD
from service.store.database import Database, fetch
from service.worker.expiry import Expiry
from service.worker.supervisor import StopReason, Supervisor

log = logging.getLogger(__name__)

RENEWAL_INTERVAL = 3.0  # seconds
RENEWAL_TIMEOUT = 10.0  # seconds


class Leases:
    """The leases of one worker on its runs."""

    def __init__(self, database: Database, expiry: Expiry | None = None) -> None:
        self.expiry = expiry or Expiry(database)
        """Decides which leases of all workers have expired."""
        self._database = database
        self._held: dict[str, Supervisor] = {}

    @contextmanager
    def holding(self, ident: str, supervisor: Supervisor) -> Iterator[None]:
        """Renew the lease of a run within the block; its row must exist already."""
        self._held[ident] = supervisor
        try:
            with RUNS_HELD.track_inprogress():
                yield
        finally:
            del self._held[ident]

    async def renew_forever(self) -> None:
        """Renew all leases periodically, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(RENEWAL_TIMEOUT):
                    await self.renew()
            except Exception as error:  # the loop must survive an unavailable database
                log.warning("Leases of runs cannot be renewed now: %s", error, extra={"action": "renewal_failed"})
            await asyncio.sleep(RENEWAL_INTERVAL)

    async def renew(self) -> None:
        """Renew all leases. Stop the runs whose lease is lost and those that a user has canceled.

        A run whose row is locked by a report is skipped: the report renews its lease (`Supervisor.follow`).
        """
        held = dict(self._held)
        if not held:
            return
        now = time.monotonic()  # before the database's time: the lease in the child must not end later
        async with self._database.transaction() as connection:
            rows = await fetch(connection, "renew_leases", idents=list(held))
        found = {row["ident"]: row for row in rows}
        for ident, supervisor in held.items():
            if ident not in found:
                supervisor.stop(StopReason.LEASE_LOST)
                continue
            if found[ident]["canceling"]:
                supervisor.stop(StopReason.CANCELED)
            if found[ident]["renewed"]:
                supervisor.renew(now)
