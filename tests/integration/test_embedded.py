"""The embedded PostgreSQL comes back when it dies, and goes when its last user does."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from service.model.settings import Settings
from service.store import embedded
from service.tasks.resources import open_resources

DEADLINE = 60.0


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: a unix socket's may have 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="takeover-pg-") as made:
        yield Path(made) / "pg"


@pytest.mark.parametrize("name", ["pg", "p" * 100], ids=["within its directory", "elsewhere"])
def test_nobody_else_of_the_machine_may_connect(directory: Path, name: str) -> None:
    with embedded.running(directory.parent / name) as url:
        killed = postmaster(directory.parent / name)
        assert_closed(url)
        os.kill(killed, 9)
        wait_for_another(directory.parent / name, killed)
        wait_for_answer(url)
        assert_closed(url)


def wait_for_another(directory: Path, killed: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        with contextlib.suppress(FileNotFoundError):  # it is being started
            if postmaster(directory) != killed:
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_closed(url: str) -> None:
    """Who may not write to the socket cannot connect. It is closed right after it was made."""
    socket = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"])) / ".s.PGSQL.5432"
    deadline = time.monotonic() + DEADLINE
    while socket.stat().st_mode & 0o077 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not socket.stat().st_mode & 0o077


def postmaster(directory: Path) -> int:
    return int((directory / "postmaster.pid").read_text().splitlines()[0])


def wait_for_answer(url: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            with psycopg.connect(url) as connection:
                connection.execute("SELECT 1")
                return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_it_is_started_again_when_it_was_killed(directory: Path) -> None:
    with embedded.running(directory) as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS it")
        killed = postmaster(directory)
        os.kill(killed, 9)
        wait_for_answer(url)
        assert postmaster(directory) != killed
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT it FROM kept").fetchone() == (1,)


def test_a_user_that_was_killed_does_not_keep_it_running(directory: Path) -> None:
    with embedded.running(directory):
        users = directory / ".handle_pids.json"
        users.write_text(json.dumps([4194305, *json.loads(users.read_text())]))  # above the largest pid Linux gives
        running = postmaster(directory)
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(running).status() == psutil.STATUS_ZOMBIE  # where nobody reaps


async def test_the_data_directory_cannot_be_read_by_others(directory: Path) -> None:
    async with (
        open_resources(Settings(data_dir=directory)) as resources,
        resources.database.transaction() as connection,
    ):
        await connection.execute("SELECT 1")
        assert directory.stat().st_mode & 0o066 == 0
        assert (directory / "secret-key").stat().st_mode & 0o777 == 0o600
