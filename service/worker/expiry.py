"""Decides which runs and queue workers are dead.

A renewal changes a stamp in the database. This process observes the stamps, and measures by its own monotonic clock for
how long each has not changed. A step of the database's clock, or of any other, neither expires a lease nor extends one.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from service.store.database import Database, fetch

DEAD = 30.0  # seconds without a renewal after which a run is over: a lease, and time to end processes


class Stamps[Key]:
    """Stamps as this process has observed them, each with the monotonic time at which it was first observed."""

    def __init__(self) -> None:
        self._first: dict[Key, tuple[datetime, float]] = {}

    def observe(self, stamps: Mapping[Key, datetime], now: float) -> None:
        """Take the stamps that the database has; `now` is not before they were read."""
        former = self._first
        self._first = {
            key: former[key] if key in former and former[key][0] == stamp else (stamp, now)
            for key, stamp in stamps.items()
        }

    def unchanged(self, seconds: float, now: float) -> dict[Key, datetime]:
        """Return the stamps that were the same for `seconds`, as far as this process has observed."""
        return {key: stamp for key, (stamp, first) in self._first.items() if now - first >= seconds}


class Expiry:
    """Observes the leases of all runs and the heartbeats of all queue workers."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._runs = Stamps[str]()
        self._workers = Stamps[int]()

    async def observe(self) -> None:
        """Read the stamps. A run or worker can expire `DEAD` seconds after its stamp was first read."""
        async with self._database.transaction() as connection:
            runs = await fetch(connection, "run_leases")
            workers = await fetch(connection, "worker_heartbeats")
        now = self._clock()
        self._runs.observe({row["ident"]: row["renewed"] for row in runs}, now)
        self._workers.observe({row["id"]: row["last_heartbeat"] for row in workers}, now)

    def runs(self) -> dict[str, datetime]:
        """Return the expired runs with their stamps. A run whose stamp has changed since is alive."""
        return self._runs.unchanged(DEAD, self._clock())

    def workers(self) -> dict[int, datetime]:
        """Return the dead queue workers with their stamps. A worker whose stamp has changed since is alive."""
        return self._workers.unchanged(DEAD, self._clock())
