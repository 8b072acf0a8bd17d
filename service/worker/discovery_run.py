"""Starts the run of a discovery, which has no task instance: playbooks/discover.yml, without changes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.inventory.snapshot import InventorySnapshot
from service.model.settings import PROJECT
from service.runs import run
from service.runs.run import Run
from service.runs.spec import RunSpec

PLAYBOOK = PROJECT / "playbooks" / "discover.yml"
TIMEOUT = 90.0  # seconds
RENEWAL_INTERVAL = 3.0  # seconds between two renewals of the run's lease


@asynccontextmanager
async def started(spec: RunSpec, snapshot: InventorySnapshot) -> AsyncIterator[Run]:
    """Start a run, renew its lease within the block, and terminate it after that; raise OSError and TimeoutError."""
    found = await asyncio.to_thread(run.start, spec, snapshot)
    renewing = asyncio.create_task(_renew_lease(found), name=f"discovery-lease-{spec.ident}")
    try:
        async with asyncio.timeout(TIMEOUT):
            yield found
    finally:
        renewing.cancel()
        await found.terminate()


async def _renew_lease(found: Run) -> None:
    while True:
        found.renew(time.monotonic())
        await asyncio.sleep(RENEWAL_INTERVAL)
