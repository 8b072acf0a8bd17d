"""A database that answers and cannot be written: no change without a record; reading works; readiness fails.

The server is a real one: read-only by its setting, or with a tablespace on a file system that is full.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import AsyncMock

import httpx
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from starlette.applications import Starlette

from service.access import access_keys, audit, users
from service.access.errors import UserExists
from service.access.roles import Role, is_read_permission
from service.app import create_app
from service.cli.local_audit import audit_call
from service.http.authentication import SAFE_METHODS
from service.model.settings import PROJECT, Settings
from service.model.types import Page
from service.routes import ALL_ROUTES
from service.store.database_errors import READ_ONLY_MESSAGE
from service.store.readiness import Problem
from service.tasks.resources import Resources
from tests.integration.http_helpers import take_over, take_over_body

TAKE_OVER = "/api/v2/obproxy/clusters/1/takeOver"
TABLES = (
    "task_instance",
    "obproxy_server",
    "audit_event",
    "session",
    "user_account",
    "access_key",
    "procrastinate_jobs",
)
CHANGING = [
    route.path for route in ALL_ROUTES if route.method not in SAFE_METHODS and not is_read_permission(route.permission)
]
SIZE = 48  # MiB of the small file system
DEADLINE = 60.0  # seconds that a command may take
COMMANDS = (
    "serve",
    "worker",
    "migrate",
    "user add anne --role ADMIN",
    "user list",
    "accesskey create admin",
    "key rotate",
)


def run_command(settings: Settings, url: str, command: str) -> str:
    """Run a command that must fail; return the last line of its standard error, which has no traceback."""
    values = {"DATABASE_URL": url, "DATA_DIR": str(settings.data_dir), "INVENTORY": str(settings.inventory)}
    done = subprocess.run(
        [sys.executable, "-m", "service", *command.split()],
        env={**os.environ, **{f"TAKEOVER_{name}": value for name, value in values.items()}},
        input="long enough\n",
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


async def administer(postgres: str, statement: sql.Composed) -> None:
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        await connection.execute(statement)


async def set_read_only(postgres: str, url: str, value: str) -> None:
    """Set the database's default, and end its sessions, which have the former one."""
    name = str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
    text = "ALTER DATABASE {} SET default_transaction_read_only = {}"
    await administer(postgres, sql.SQL(text).format(sql.Identifier(name), sql.SQL(value)))
    end = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = {}"
    await administer(postgres, sql.SQL(end).format(sql.Literal(name)))


@pytest.fixture
async def read_only(client: httpx.AsyncClient, postgres: str, database_url: str) -> AsyncIterator[None]:
    """Make the database read-only while the service runs a takeover."""
    await take_over(client, 1)
    await set_read_only(postgres, database_url, "on")
    yield
    await set_read_only(postgres, database_url, "off")


async def count_rows(resources: Resources) -> dict[str, int]:
    async with resources.database.autocommit() as connection:
        counts = {}
        for table in TABLES:
            rows = await connection.execute(sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(table)))
            counts[table] = (await rows.fetchall())[0]["n"]
    return counts


@pytest.mark.parametrize("path", CHANGING)
async def test_no_call_changes_a_read_only_database(
    client: httpx.AsyncClient, app: Starlette, read_only: None, path: str
) -> None:
    before = await count_rows(app.state.resources)
    address = path.replace("{operation}", "rollback").replace("{id}", "1")
    address = address.replace("{taskInstanceId}", "1").replace("{subtaskInstanceId}", "1")
    given: dict[str, object] = {"json": take_over_body(2)}
    if path == "/login":
        password = (app.state.resources.settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
        given = {"data": {"name": "admin", "password": password}}

    answer = await client.post(address, **given)  # type: ignore[arg-type]

    assert answer.status_code == 503
    assert answer.json()["error"]["message"].startswith("The database cannot be written: it is read-only.")
    assert int(answer.headers["Retry-After"]) > 0
    assert "set-cookie" not in answer.headers
    assert await count_rows(app.state.resources) == before


async def test_reading_works_while_the_database_is_read_only(client: httpx.AsyncClient, read_only: None) -> None:
    for path in ("/api/v2/tasks/instances", "/api/v2/tasks/instances/1", "/api/v2/obproxy/clusters", "/tasks"):
        assert (await client.get(path)).status_code == 200
    assert (await client.post("/api/v2/tasks/instances/1/downloadDiagnosis")).status_code == 200


async def test_a_page_shows_the_reason(client: httpx.AsyncClient, read_only: None) -> None:
    answer = await client.post("/tasks/1/rollback", headers={"Accept": "text/html"})

    assert answer.status_code == 503
    assert "The database cannot be written: it is read-only." in answer.text


async def test_readiness_follows_the_setting(
    client: httpx.AsyncClient, read_only: None, postgres: str, database_url: str
) -> None:
    unready = await client.get("/health/ready")
    assert (unready.status_code, unready.text) == (503, f"not ready: {Problem.READ_ONLY}")
    assert (await client.get("/api/status")).status_code == 200
    await client.post(TAKE_OVER, json=take_over_body(2))

    await set_read_only(postgres, database_url, "off")

    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.text) == (200, "ready")
    assert (await client.post(TAKE_OVER, json=take_over_body(2))).status_code == 200


async def test_commands_change_nothing_without_a_record(resources: Resources, postgres: str, database_url: str) -> None:
    await users.ensure_admin(resources.database, resources.settings.data_dir)
    before = await count_rows(resources)
    await set_read_only(postgres, database_url, "on")

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        async with audit.recorded(resources.database, audit_call("user add anne")):
            pytest.fail("done without a record")

    await set_read_only(postgres, database_url, "off")
    assert await count_rows(resources) == before


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_on_a_read_only_database_prints_the_fix(
    postgres: str, database_url: str, settings: Settings, command: str
) -> None:
    await set_read_only(postgres, database_url, "on")

    assert run_command(settings, database_url, command) == READ_ONLY_MESSAGE


async def test_an_end_that_cannot_be_recorded_keeps_the_result_of_a_command(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    await users.ensure_admin(resources.database, resources.settings.data_dir)
    async with audit.recorded(resources.database, audit_call("accesskey create admin")):
        key, _ = await access_keys.create(resources.database, resources.secrets, "admin")
        monkeypatch.setattr(audit, "record", AsyncMock(side_effect=psycopg.errors.DiskFull("planted")))

    assert [found.id for found in await access_keys.list_all(resources.database)] == [key]
    (kept,), _ = await audit.events(resources.database, Page(), None)
    assert kept.status == audit.UNANSWERED


async def test_commands_are_recorded_with_their_outcome(resources: Resources) -> None:
    await users.ensure_admin(resources.database, resources.settings.data_dir)
    async with audit.recorded(resources.database, audit_call("accesskey create admin")):
        await access_keys.create(resources.database, resources.secrets, "admin")
    with pytest.raises(UserExists):
        async with audit.recorded(resources.database, audit_call("user add admin")):
            await users.add(resources.database, "admin", "password", [Role.ADMIN])

    async with resources.database.autocommit() as connection:
        rows = await connection.execute("SELECT user_name, method, path, status FROM audit_event ORDER BY id")
        kept = [tuple(row.values()) for row in await rows.fetchall()]

    assert [(method, path, status) for _, method, path, status in kept] == [
        ("COMMAND", "accesskey create admin", 200),
        ("COMMAND", "user add admin", 400),
    ]
    assert all(name.startswith("os:") for name, *_ in kept)


@pytest.fixture
def small_disk(postgres: str) -> Iterator[Path]:
    """Yield a file system of few MiB, with a tablespace of the server on it."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    with (
        tempfile.TemporaryDirectory(prefix="takeover-disk-") as directory,
        psycopg.connect(postgres, autocommit=True) as connection,
    ):
        Path(directory).chmod(0o755)
        data = Path(connection.execute("SHOW data_directory").fetchall()[0][0])
        disk = Path(directory) / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", disk], check=True)
        try:
            owner = data.stat()
            (disk / "space").mkdir(mode=0o700)
            os.chown(disk / "space", owner.st_uid, owner.st_gid)
            connection.execute(f"CREATE TABLESPACE small LOCATION '{disk / 'space'}'")
            yield disk
            connection.execute("DROP TABLESPACE small")
        finally:
            subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
async def on_small_disk(postgres: str, template_database: str, small_disk: Path) -> AsyncIterator[str]:
    """Yield the connection string of a database on the small file system."""
    name = f"test_{uuid.uuid4().hex}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template_database)}
    create = "CREATE DATABASE {name} TEMPLATE {template} TABLESPACE small"
    await administer(postgres, sql.SQL(create).format(**names))
    yield psycopg.conninfo.make_conninfo(postgres, dbname=name)
    await administer(postgres, sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte of a file system while the block lasts."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


async def test_a_full_disk_changes_nothing_and_is_reported_until_it_has_space(
    on_small_disk: str, small_disk: Path, settings: Settings
) -> None:
    app = create_app(settings.model_copy(update={"database_url": SecretStr(on_small_disk)}))
    async with app.router.lifespan_context(app):
        password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service", auth=("admin", password)) as http:
            assert (await http.get("/health/ready")).text == "ready"
            with filled(small_disk):
                before = await count_rows(app.state.resources)

                answer = await http.post(TAKE_OVER, json=take_over_body(1))

                assert answer.status_code == 503
                assert "cannot be written: its disk is full" in answer.json()["error"]["message"]
                assert await count_rows(app.state.resources) == before
                assert (await http.get("/health/ready")).text == f"not ready: {Problem.FULL}"
                for command in ("user add anne --role ADMIN", "accesskey create admin", "key rotate"):
                    said = await asyncio.to_thread(run_command, app.state.resources.settings, on_small_disk, command)
                    assert "No space left on device" in said  # of a write, or of the server's start of a session
                assert await count_rows(app.state.resources) == before
            assert (await http.get("/health/ready")).text == "ready"
            assert (await http.post(TAKE_OVER, json=take_over_body(1))).status_code == 200
