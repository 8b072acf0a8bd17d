"""What a run does to a task instance, done while somebody looks on; in a thread, for playwright has its own loop."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from service.resources import Resources, open_resources
from service.settings import Settings


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
