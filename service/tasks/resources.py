"""Opens the resources that every process of the service uses, and closes them in order."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache

from service.inventory.reader import InventoryReader, of_settings
from service.model import workflow
from service.model.settings import PROJECT, Settings
from service.model.workflow import Workflows
from service.store import embedded
from service.store.database import Database, open_database
from service.store.keyring import Secrets, load
from service.store.queue import Queue, open_queue
from service.store.start_errors import explaining_start_errors


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources that the service's functions take: settings, database, queue, inventory, workflows, secrets."""

    settings: Settings
    database: Database
    inventory: InventoryReader
    workflows: Workflows
    queue: Queue
    secrets: Secrets
    executor: str  # address of this machine in documents


@asynccontextmanager
async def open_resources(settings: Settings, inventory: InventoryReader | None = None) -> AsyncIterator[Resources]:
    """Open the data directory, the database (embedded unless one is set), queue, keys, inventory and workflows.

    The database is migrated. Raise StartFailed for an error of the environment.
    """
    inventory = inventory or of_settings(settings)  # before the embedded database removes PG* variables
    async with AsyncExitStack() as stack:
        with explaining_start_errors(settings):
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            url = await asyncio.to_thread(stack.enter_context, _database_url(settings))
            database = await stack.enter_async_context(open_database(url))
            sends_webhooks = bool(settings.notify_url.get_secret_value())
            queue = await stack.enter_async_context(open_queue(database, sends_webhooks=sends_webhooks))
            secrets = load(settings.secret_key, settings.data_dir)
        yield Resources(
            settings=settings,
            database=database,
            inventory=inventory,
            workflows=_workflows(),
            queue=queue,
            secrets=secrets,
            executor=_own_address(),
        )


@cache
def _workflows() -> Workflows:
    """Read the workflows of the project once: 47 files."""
    return workflow.load(PROJECT)


@contextmanager
def _database_url(settings: Settings) -> Iterator[str]:
    if settings.database_url.get_secret_value():
        yield settings.database_url.get_secret_value()
    else:
        with embedded.running(settings.data_dir / "postgres") as url:
            # Started by root, PostgreSQL runs as an account of its own. It must be able to enter this directory; no
            # other user may list it.
            settings.data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
            yield url


def _own_address() -> str:
    """Return the local address of the default route, else the host name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # documentation address; connecting a datagram socket sends nothing
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
