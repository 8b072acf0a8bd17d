"""The embedded PostgreSQL: start, restart after a crash, stop with its last user."""

import contextlib
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.inventory.reader import InventoryReader
from service.model.errors import StartFailed
from service.model.settings import PROJECT, Settings
from service.observe import process_table
from service.store import embedded, postgres_server
from service.store.postgres_server import PostgresServer
from service.tasks.resources import open_resources

DEADLINE = 60.0
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users or namespaces")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a short path: a unix socket's may have 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="takeover-pg-") as made:
        yield Path(made) / "pg"


@pytest.mark.parametrize("name", ["pg", "p" * 100], ids=["within its directory", "elsewhere"])
def test_other_users_of_the_machine_cannot_connect(directory: Path, name: str) -> None:
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
    """Check that no other user may write to the socket. PostgreSQL closes it right after making it."""
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


USER = """
import sys
from pathlib import Path
from service.observe import process_table
from service.store import embedded, postgres_server
with embedded.running(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_user(directory: Path, *prefix: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that uses it, and its connection string there."""
    command = [*prefix, sys.executable, "-c", USER, str(directory)]
    with subprocess.Popen(
        command, cwd=PROJECT, env=os.environ | variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        yield process, process.stdout.readline().strip()
        process.stdin.close()  # it ends, and the server with its last user
        process.wait(DEADLINE)


def is_gone(pid: int) -> bool:
    """Return whether there is no such process, except for a zombie that has no parent to reap it."""
    return process_table.find(pid) is None


def test_a_user_that_was_killed_does_not_keep_it_running(directory: Path) -> None:
    with another_user(directory) as (process, url):
        running = postmaster(directory)
        with embedded.running(directory) as own_url:
            assert own_url == url
            process.kill()
            process.wait()
            wait_for_answer(url)
            assert postmaster(directory) == running
    assert is_gone(running)


def test_it_stops_with_its_last_user_only(directory: Path) -> None:
    with embedded.running(directory) as url:
        running = postmaster(directory)
        with another_user(directory) as (process, _):
            process.communicate(input="")
            assert process.returncode == 0
        wait_for_answer(url)
        assert postmaster(directory) == running
    assert is_gone(running)


def test_two_that_start_at_once_share_one(directory: Path) -> None:
    with another_user(directory) as (one, url), another_user(directory) as (other, other_url):
        assert url == other_url and url
        wait_for_answer(url)
        for process in (one, other):
            process.communicate(input="")
            assert process.returncode == 0
    assert not (directory / "postmaster.pid").exists()


@needs_root
def test_one_in_another_pid_namespace_is_joined_and_left_alone(directory: Path) -> None:
    """As containers that share the data directory: there its process id means nothing."""
    with another_user(directory) as (_, url):
        running = postmaster(directory)
        with another_user(directory, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc") as (other, same):
            assert same == url
            other.communicate(input="")
        wait_for_answer(url)
        assert postmaster(directory) == running


@pytest.fixture
def foreign_process() -> Iterator[subprocess.Popen[bytes]]:
    """Yield an unrelated process."""
    with subprocess.Popen(["sleep", "9876"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("left", ["{pid}\n{directory}\n1\n5432\n{directory}\n\n1 2\nready\n", "{pid}", "", "\0", "x\n"])
def test_a_stale_pid_file_signals_no_foreign_process(
    directory: Path, foreign_process: subprocess.Popen[bytes], left: str
) -> None:
    """The process id of a server that a power loss has ended is another process's by now; or the file is damaged."""
    with embedded.running(directory):
        pass
    account = directory.stat()
    (directory / "postmaster.pid").write_text(left.format(pid=foreign_process.pid, directory=directory))
    if os.geteuid() == 0:
        os.chown(directory / "postmaster.pid", account.st_uid, account.st_gid)

    with embedded.running(directory) as url:
        wait_for_answer(url)
        assert postmaster(directory) != foreign_process.pid

    assert foreign_process.poll() is None


def test_a_postgres_of_another_directory_is_foreign_too(directory: Path) -> None:
    other = directory.with_name("other")
    with embedded.running(directory):
        pass
    with embedded.running(other) as other_url:
        (directory / "postmaster.pid").write_text((other / "postmaster.pid").read_text())
        with embedded.running(directory) as url:
            wait_for_answer(url)
            assert url != other_url
        wait_for_answer(other_url)


FOREIGN = {
    "LC_ALL": "xx_YY.UTF-8",
    "LANG": "de_AT@nowhere",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGPORT": "1",
    "PGHOST": "192.0.2.1",
    "PGSERVICE": "nowhere",
    "PGDATA": "/nonexistent",
    "PGSERVER_POSTGRES_VERSION": "7",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCLIENTENCODING": "SQL_ASCII",
    "TMPDIR": f"/tmp/{'t' * 200}",
    "XDG_RUNTIME_DIR": "/nonexistent",
}


def test_it_starts_in_a_foreign_environment(directory: Path) -> None:
    with another_user(directory, **FOREIGN) as (process, url):
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE it AS SELECT 'é' AS text")
        process.communicate(input="")
        assert process.returncode == 0


def test_no_foreign_setting_reaches_its_connections(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)

    with embedded.running(directory) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE it AS SELECT 'é' AS text")
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)

    assert os.environ["PGPORT"] == "1"


async def test_an_inventory_gets_the_variables_that_are_passed_on(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "192.0.2.1")
    script = tmp_path / "cmdb"
    script.write_text("""#!/bin/sh
echo '{"_meta": {"hostvars": {"a": {"ocp_host_id": 1, "ansible_host": "'"$PGHOST"'"}}}, "all": {"hosts": ["a"]}}'
""")
    script.chmod(0o700)
    reader = InventoryReader(script, None, ["PGHOST"])

    with embedded.running(directory):
        host = (await reader.current()).hosts[1]

    assert host.address == "192.0.2.1"


@pytest.mark.parametrize(
    "name",
    ["a b/pg", 'it\'s "$HOME" `id`/p g', "a,b/pg", f"{'p' * 200}/{'q' * 200}/{'r' * 200}/pg", "é/pg", "%20/pg;x"],
    ids=["space", "quotes", "comma", "long", "not ASCII", "URL"],
)
def test_it_starts_in_a_directory_of_any_name(directory: Path, name: str) -> None:
    path = directory.parent / name
    path.parent.mkdir(parents=True)
    for _ in range(2):
        with embedded.running(path) as url:
            wait_for_answer(url)
            assert_closed(url)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("16", r"was made by PostgreSQL 16; this service has 18\. Dump it with the service that made it"),
        ("15", r"was made by PostgreSQL 15; this service has 18\. Dump it with the service that made it"),
        ("", r"was made by PostgreSQL of an unknown version; this service has 18\."),
    ],
)
def test_another_major_version_is_rejected_with_a_sentence(directory: Path, version: str, says: str) -> None:
    directory.mkdir()
    (directory / "PG_VERSION").write_text(f"{version}\n")

    with pytest.raises(StartFailed, match=says), embedded.running(directory):
        pass

    assert [path.name for path in directory.iterdir()] == ["PG_VERSION"]


def test_the_binaries_are_of_the_version_that_is_checked() -> None:
    said = subprocess.run([postgres_server._binaries() / "postgres", "-V"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"postgres (PostgreSQL) {postgres_server.MAJOR}.")


def test_an_incomplete_data_directory_is_created_again(directory: Path) -> None:
    left = directory.with_name(f".{directory.name}.new-x")
    left.mkdir()
    (left / "PG_VERSION").write_text("18\n")

    with embedded.running(directory) as url:
        wait_for_answer(url)

    assert not left.exists()


def test_a_directory_with_other_files_is_rejected_and_unchanged(directory: Path) -> None:
    directory.mkdir()
    (directory / "holiday.jpg").touch()

    with (
        pytest.raises(StartFailed, match="is not empty, and no data directory of PostgreSQL"),
        embedded.running(directory),
    ):
        pass

    assert (directory / "holiday.jpg").exists()


def test_the_error_contains_the_message_of_postgres(directory: Path) -> None:
    with embedded.running(directory):
        pass
    (directory / "postgresql.conf").write_text("nonsense = 1\n")

    with (
        pytest.raises(StartFailed, match=r"does not start: configuration file .* contains errors.*pg\.log"),
        embedded.running(directory),
    ):
        pass


def test_a_failed_start_leaves_no_process_and_no_open_file(directory: Path) -> None:
    path = directory.parent / ("p" * 100)
    with embedded.running(path):
        pass
    (path / "postgresql.conf").write_text("nonsense = 1\n")
    opened = open_files()

    with pytest.raises(StartFailed), embedded.running(path):
        pass

    assert open_files() <= opened  # one of an earlier test may have been closed meanwhile


def open_files() -> set[tuple[str, str]]:
    """Return this process's descriptors with what they refer to, such as `socket:[INODE]`."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that reads this directory
            found.add((descriptor.name, str(descriptor.readlink())))
    return found


def test_a_server_that_is_just_ending_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock is free before the process can be reaped; one that is never reaped is reported as still running."""
    server = PostgresServer(tmp_path / "pg")
    with subprocess.Popen(["sleep", "0.3"]) as ending:
        monkeypatch.setattr(server, "_process", ending)
        monkeypatch.setattr(process_table, "find", lambda _: None)
        assert not server.is_running()
        assert ending.returncode == 0


@needs_root
def test_a_root_without_the_right_to_trace_others_stops_its_own(directory: Path) -> None:
    """As in a container: there it may not read what program another user's process runs."""
    prefix = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--")
    with another_user(directory, *prefix) as (process, url):
        running = postmaster(directory)
        wait_for_answer(url)
        process.communicate(input="")
        assert process.returncode == 0
    assert is_gone(running)


@needs_root
def test_as_root_it_runs_as_an_account_that_may_only_pass_through(directory: Path) -> None:
    directory.parent.chmod(0o700)
    with embedded.running(directory):
        owner = Path(f"/proc/{postmaster(directory)}").stat()
    assert pwd.getpwuid(owner.st_uid).pw_name == "pgserver" and owner.st_gid != 0
    assert directory.parent.stat().st_mode & 0o777 == 0o701


async def test_the_data_directory_cannot_be_read_by_others(directory: Path) -> None:
    async with (
        open_resources(Settings(data_dir=directory)) as resources,
        resources.database.transaction() as connection,
    ):
        await connection.execute("SELECT 1")
        assert directory.stat().st_mode & 0o066 == 0
        assert (directory / "secret-key").stat().st_mode & 0o777 == 0o600
        assert (directory / "postgres.log").stat().st_mode & 0o777 == 0o600
