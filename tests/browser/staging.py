"""Changes task instances as a run does while a page shows them; in a thread, because Playwright has its own loop."""

import asyncio
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from service.model.settings import Settings
from service.model.workflow import TAKEOVER
from service.tasks.resources import Resources, open_resources
from tests.integration import sample_tasks
from tests.integration.running_service import serving


@dataclass(frozen=True, kw_only=True)
class StagedService:
    """A service in a thread of this process: a process of its own imports everything again, which takes 3 s."""

    url: str
    password: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A database and an inventory, shared by a service and by the test."""

    database_url: str
    directory: Path
    inventory: Path

    def do[Result](self, action: Callable[[Resources], Awaitable[Result]]) -> Result:
        """Run `action` with resources of the same database, and return its result."""
        settings = self._settings("staging")

        async def run() -> Result:
            async with open_resources(settings) as resources:
                return await action(resources)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, run()).result()

    @contextmanager
    def served(self) -> Iterator[StagedService]:
        """Start a service on the database, without a worker."""
        settings = self._settings("data")
        with serving(settings) as url:
            password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
            yield StagedService(url=url, password=password)

    def _settings(self, data_dir: str) -> Settings:
        return Settings(
            database_url=SecretStr(self.database_url),
            data_dir=self.directory / data_dir,
            inventory=self.inventory,
            port=0,
        )


@contextmanager
def staging(postgres: str, hosts: str) -> Iterator[Stage]:
    """Provide a new database on a running PostgreSQL, and an inventory with the text `hosts`."""
    name = f"stage_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with tempfile.TemporaryDirectory(prefix="stage-") as directory:
        inventory = Path(directory) / "inventory"
        inventory.mkdir()
        (inventory / "hosts.yml").write_text(hosts, encoding="utf-8")
        yield Stage(database_url=make_conninfo(postgres, dbname=name), directory=Path(directory), inventory=inventory)


async def begin(resources: Resources, host_id: int) -> int:
    """Submit a takeover, start its first subtask, and return the id of the task instance."""
    task_id = await sample_tasks.take_over(resources, host_id)
    await sample_tasks.advance(resources, task_id, [], running=resources.workflows[TAKEOVER].roles[0])
    return task_id
