"""Which runs are this worker's: it says so to the database, and to each run that the database has heard it.

A worker that cannot reach the database, or that stands still, cannot renew its leases: its runs end by themselves
(`child.LEASE`) before any other worker considers them dead (`expiry.DEAD`). So nothing runs twice at a time, whatever
becomes of jobs on the queue.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from service.observe.metrics import RUNS_HELD
from service.store.database import Database, fetch
from service.worker.expiry import Expiry
from service.worker.supervisor import Stop, Supervisor

log = logging.getLogger(__name__)

RENEWAL = 3.0  # seconds between two renewals
PATIENCE = 10.0  # seconds that one renewal may take


class Leases:
    """The runs of one worker."""

    def __init__(self, database: Database, expiry: Expiry | None = None) -> None:
        self.expiry = expiry or Expiry(database)
        """Tells which runs of any worker are dead."""
        self._database = database
        self._held: dict[str, Supervisor] = {}

    @contextmanager
    def holding(self, ident: str, supervisor: Supervisor) -> Iterator[None]:
        """Renew a run that the database knows as alive as long as the block lasts."""
        self._held[ident] = supervisor
        try:
            with RUNS_HELD.track_inprogress():
                yield
        finally:
            del self._held[ident]

    async def renew_forever(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self.renew()
            except (psycopg.Error, TimeoutError) as error:
                log.warning("Runs cannot be renewed now: %s", error, extra={"action": "renewal_failed"})
            await asyncio.sleep(RENEWAL)

    async def renew(self) -> None:
        """Renew all, stop those that have become another worker's, and those that somebody wants ended.

        One that is just being reported is not renewed here: its report does that (`Supervisor.follow`).
        """
        held = dict(self._held)
        if not held:
            return
        stamp = time.monotonic()
        async with self._database.transaction() as connection:
            rows = await fetch(connection, "renew_leases", idents=list(held))
        found = {row["ident"]: row for row in rows}
        for ident, supervisor in held.items():
            if ident not in found:
                supervisor.stop(Stop.TAKEN)
                continue
            if found[ident]["canceling"]:
                supervisor.stop(Stop.CANCELED)
            if found[ident]["renewed"]:
                supervisor.renew(stamp)
