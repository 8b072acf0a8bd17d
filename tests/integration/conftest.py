"""A real PostgreSQL for the session, and for each test a fresh copy of the migrated template database."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from psycopg import sql
from pydantic import SecretStr
from starlette.applications import Starlette

from service.access import passwords
from service.app import create_app
from service.inventory import reader
from service.model.errors import InventoryUnreadable
from service.model.settings import Settings
from service.store import embedded
from service.store.database import open_database
from service.tasks.resources import Resources, open_resources
from tests import memory

TEMPLATE = "takeover_template"
MOST_INVENTORIES = 4  # that a session holds, each in a process
_read_inventory = reader.read

INVENTORY = """
all:
  hosts:
    odp-1: {ansible_host: 192.0.2.11, ocp_host_id: 1}
    odp-2: {ansible_host: 192.0.2.12, ocp_host_id: 2}
    odp-3: {ansible_host: 192.0.2.13, ocp_host_id: 3}
    bastion: {ansible_host: 192.0.2.99}
  children:
    test:
      vars:
        obproxy_cluster_id: 1
        obproxy_cluster_name: test
        obproxy_package_name: obproxy
        obproxy_package_version: 1.9.1.1-1919579
        obproxy_start_mode: config_url
        obproxy_sys_password: "Proxysys#1"
    empty:
      vars: {obproxy_cluster_id: 7}
"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Yield the connection string of a PostgreSQL server: the running one of TEST_POSTGRES, or the session's own."""
    if running := os.environ.get("TEST_POSTGRES"):
        yield running
        return
    # Not pytest's directory: the length of a Unix socket's path is limited.
    with memory.directory() as directory, embedded.running(Path(directory) / "pg") as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_database(postgres: str) -> str:
    """Return a migrated database that tests copy."""
    with suppress(psycopg.errors.DuplicateDatabase):  # sessions on a running server share it
        await _execute(postgres, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    async with open_database(psycopg.conninfo.make_conninfo(postgres, dbname=TEMPLATE)):
        pass
    return TEMPLATE


@pytest.fixture
async def database_url(postgres: str, template_database: str) -> AsyncIterator[str]:
    """Yield the connection string of a database for one test."""
    name = f"test_{uuid.uuid4().hex}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template_database)}
    await _execute(postgres, sql.SQL("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY").format(**names))
    yield psycopg.conninfo.make_conninfo(postgres, dbname=name)
    await _execute(postgres, sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


@pytest.fixture
def inventory_file(tmp_path: Path) -> Path:
    """Return an inventory of three hosts that may be taken over, one that may not, and two clusters."""
    path = tmp_path / "inventory" / "hosts.yml"
    path.parent.mkdir()
    path.write_text(INVENTORY, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a fast password hasher; a separate test checks the cost of the real one."""
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture(scope="session")
def inventories(tmp_path_factory: pytest.TempPathFactory) -> "Inventories":
    """Return the inventories of the session."""
    return Inventories(tmp_path_factory.mktemp("inventories"))


@pytest.fixture
def shared_inventories(inventories: "Inventories", monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests with equal inventories share the process that holds it: it is read once."""
    monkeypatch.setattr(reader, "read", inventories.read)


class Inventories:
    """Reads each inventory of one file once, by its text, from a copy that no test changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[str, reader.Inventory] = {}

    async def read(self, source: Path, *arguments: Any) -> reader.Inventory:
        """Stand in for `reader.read`, which reads inventories of several files, and all that have an error."""
        if [path.name for path in source.rglob("*")] == ["hosts.yml"] and not any(arguments):
            with suppress(InventoryUnreadable):
                return await self._shared((source / "hosts.yml").read_text(encoding="utf-8"))
        return await _read_inventory(source, *arguments)

    async def _shared(self, text: str) -> reader.Inventory:
        if text not in self._read or not self._read[text].snapshot.is_alive():
            copy = self._directory / uuid.uuid4().hex / "hosts.yml"
            copy.parent.mkdir()
            copy.write_text(text, encoding="utf-8")
            found = await _read_inventory(copy.parent)
            if len(self._read) == MOST_INVENTORIES:
                del self._read[next(iter(self._read))]
            self._read[text] = found
        return self._read[text]


@pytest.fixture
def settings(database_url: str, inventory_file: Path, tmp_path: Path, shared_inventories: None) -> Settings:
    """Return settings on the test's own database, inventory and data directory."""
    return Settings(
        database_url=SecretStr(database_url), inventory=inventory_file.parent, data_dir=tmp_path / "data", port=0
    )


@pytest.fixture
async def resources(settings: Settings) -> AsyncIterator[Resources]:
    """Yield the opened resources of the service."""
    async with open_resources(settings) as opened:
        yield opened


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[Starlette]:
    """Yield the application, started, without a worker."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: Starlette, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client of the application, authenticated as the administrator."""
    password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", auth=("admin", password)) as http:
        yield http


async def _execute(url: str, statement: sql.Composed) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement)
