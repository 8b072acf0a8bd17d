"""Changes task instances as a run does while a page shows them; in a thread, because Playwright has its own loop."""

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
    """A database and an inventory, shared by a service and by the test."""

    database_url: str
    directory: Path
    inventory: Path

    def do[Result](self, action: Callable[[Resources], Awaitable[Result]]) -> Result:
        """Run `action` with resources of the same database, and return its result."""
        settings = Settings(
            database_url=SecretStr(self.database_url), data_dir=self.directory / "staging", inventory=self.inventory
        )

        async def run() -> Result:
            async with open_resources(settings) as resources:
                return await action(resources)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, run()).result()

    def served(self) -> AbstractContextManager[Service]:
        """Start a service on the database, without a worker."""
        return running(self.directory, self.inventory, database_url=self.database_url, worker="false")


async def begin(resources: Resources, host_id: int) -> int:
    """Submit a takeover, start its first subtask, and return the id of the task instance."""
    task_id = await sample_tasks.take_over(resources, host_id)
    await sample_tasks.advance(resources, task_id, [], running=resources.workflows[TAKEOVER].roles[0])
    return task_id
