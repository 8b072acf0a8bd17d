"""Starts parts of the service again when they have ended, as a service manager does."""

import time

from .ground import Ground, Part
from .postgres import Postgres

RESTART_INTERVAL = 1.0  # seconds between two starts of a part


class Supervisor:
    """The service manager of a ground; `worker_pids` are those of all workers that it has seen."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._started: dict[Part | Postgres, float] = {}
        self.worker_pids: set[int] = set()

    def look(self) -> None:
        """Start what has ended. It waits for no answer: PostgreSQL may be away for longer."""
        ground = self._ground
        if self._is_due(ground.postgres):
            ground.postgres.launch()
        for part in (ground.api, *ground.workers):
            if self._is_due(part):
                part.start()
        self.worker_pids.update(worker.pid for worker in ground.workers)

    def _is_due(self, part: Part | Postgres) -> bool:
        now = time.monotonic()
        if part.alive or now - self._started.get(part, 0.0) < RESTART_INTERVAL:
            return False
        self._started[part] = now
        return True
