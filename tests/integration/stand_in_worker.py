"""A worker in a process of its own, which can be killed. Its runs are stand-ins."""

import asyncio
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess

from service.model.settings import Settings
from service.runs import run
from service.tasks.resources import open_resources
from service.worker import worker
from tests.bench.stand_in import StandIn

APPLICATION_NAME = "stand-in worker"  # of its database sessions


@contextmanager
def working(settings: Settings) -> Iterator[SpawnProcess]:
    """Run a worker for the length of the block; it is killed at its end."""
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(settings,))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _work(settings: Settings) -> None:
    os.environ["PGAPPNAME"] = APPLICATION_NAME
    run.start = StandIn  # type: ignore[assignment]
    asyncio.run(_work_forever(settings))


async def _work_forever(settings: Settings) -> None:
    async with open_resources(settings) as resources, worker.running(resources):
        await asyncio.Event().wait()
