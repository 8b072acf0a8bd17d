"""What a run does to a task instance, done while somebody looks on; in a thread, for playwright has its own loop."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from service.model.settings import Settings
from service.model.workflow import TAKEOVER
from service.tasks.resources import Resources, open_resources
from tests.integration import sample_tasks
from tests.lab.service import Service, running


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The database that a service shows, and an inventory that its hosts are in."""

    database_url: str
    directory: Path
    inventory: Path

    def do[Made](self, act: Callable[[Resources], Awaitable[Made]]) -> Made:
        """What `act` makes of the same resources that the service has."""
        settings = Settings(
            database_url=SecretStr(self.database_url), data_dir=self.directory / "staging", inventory=self.inventory
        )

        async def on_stage() -> Made:
            async with open_resources(settings) as resources:
                return await act(resources)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, on_stage()).result()

    def served(self) -> AbstractContextManager[Service]:
        """A service that shows what is staged, and runs nothing."""
        return running(self.directory, self.inventory, database_url=self.database_url, worker="false")


async def begin(resources: Resources, host_id: int) -> int:
    """A takeover of a host's proxy whose first subtask runs; its id."""
    task_id = await sample_tasks.take_over(resources, host_id)
    await sample_tasks.advance(resources, task_id, [], running=resources.workflows[TAKEOVER].roles[0])
    return task_id
