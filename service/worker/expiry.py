"""Decides which leases of runs and which queue workers have expired.

A renewal changes a timestamp in the database. This process observes the timestamps and measures by its own monotonic
clock how long each has not changed. So a step of any clock neither expires a lease nor extends one.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from service.store.database import Database, fetch

EXPIRY_TIMEOUT = 30.0  # seconds without a renewal: the duration of a lease, and time to terminate the run's processes


class ObservedRenewals[Key]:
    """Timestamps of renewals, each with the monotonic time at which this process first observed it."""

    def __init__(self) -> None:
        self._first_observed: dict[Key, tuple[datetime, float]] = {}

    def observe(self, renewals: Mapping[Key, datetime], now: float) -> None:
        """Update the timestamps from the database. `now` must not be before they were read."""
        former = self._first_observed
        self._first_observed = {
            key: former[key] if key in former and former[key][0] == renewed else (renewed, now)
            for key, renewed in renewals.items()
        }

    def unchanged(self, seconds: float, now: float) -> dict[Key, datetime]:
        """Return the timestamps that this process has observed unchanged for `seconds`."""
        return {key: renewed for key, (renewed, first) in self._first_observed.items() if now - first >= seconds}


class Expiry:
    """Observes the leases of all runs and the heartbeats of all queue workers."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._runs = ObservedRenewals[str]()
        self._workers = ObservedRenewals[int]()

    async def observe(self) -> None:
        """Read the timestamps. A lease or worker expires `EXPIRY_TIMEOUT` seconds after the first unchanged reading."""
        async with self._database.transaction() as connection:
            runs = await fetch(connection, "run_leases")
            workers = await fetch(connection, "worker_heartbeats")
        now = self._clock()
        self._runs.observe({row["ident"]: row["renewed"] for row in runs}, now)
        self._workers.observe({row["id"]: row["last_heartbeat"] for row in workers}, now)

    def expired_runs(self) -> dict[str, datetime]:
        """Return the idents of expired runs with their last renewals. A run that was renewed since is alive."""
        return self._runs.unchanged(EXPIRY_TIMEOUT, self._clock())

    def expired_workers(self) -> dict[int, datetime]:
        """Return the ids of expired queue workers with their last heartbeats. A later heartbeat means it is alive."""
        return self._workers.unchanged(EXPIRY_TIMEOUT, self._clock())
