"""A start that fails ends with one sentence that names the setting, without a traceback or a password."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from service.model.settings import PROJECT
from service.store.start_errors import without_password

DEADLINE = 120.0
PASSWORD = "geheim"
UNREACHABLE = f"postgresql://u:{PASSWORD}@127.0.0.1:1/x"


def failed_start(command: str, tmp_path: Path, **variables: str) -> str:
    """Start the service, which must fail; return its output."""
    environment = {"TAKEOVER_PORT": "0", "TAKEOVER_DATA_DIR": str(tmp_path / "data"), **variables}
    done = subprocess.run(
        [sys.executable, "-m", "service", command],
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and not done.stdout
    (sentence,) = [line for line in done.stderr.splitlines() if "[info " not in line and "Password of" not in line]
    return sentence


@pytest.mark.parametrize("command", ["serve", "worker", "migrate"])
def test_a_database_that_cannot_be_reached_is_named(command: str, tmp_path: Path) -> None:
    sentence = failed_start(command, tmp_path, TAKEOVER_DATABASE_URL=UNREACHABLE)

    assert sentence.startswith("TAKEOVER_DATABASE_URL: connection failed: ")
    assert "127.0.0.1" in sentence and "Connection refused" in sentence and PASSWORD not in sentence


def test_serve_names_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    assert failed_start("serve", tmp_path) == f"TAKEOVER_DATA_DIR: {tmp_path}/data: File exists"


def test_serve_names_another_major_version(tmp_path: Path) -> None:
    made = tmp_path / "data" / "postgres"
    made.mkdir(parents=True)
    (made / "PG_VERSION").write_text("16\n")

    assert failed_start("serve", tmp_path).startswith(f"{made} was made by PostgreSQL 16; this service has 18.")


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_serve_names_an_address_that_is_in_use(tmp_path: Path, host: str, shown: str) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        listening = {"TAKEOVER_HOST": host, "TAKEOVER_PORT": str(port)}
        sentence = failed_start("serve", tmp_path, **listening, TAKEOVER_WORKER="false")

    assert sentence == f"TAKEOVER_HOST, TAKEOVER_PORT: {shown}:{port}: Address already in use"
    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()


def test_serve_names_the_missing_privilege_of_a_database_user(postgres: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS not_ours WITH (FORCE)")
        connection.execute("DROP ROLE IF EXISTS stranger")
        connection.execute("CREATE DATABASE not_ours")
        connection.execute(f"CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'")
    url = psycopg.conninfo.make_conninfo(postgres, dbname="not_ours", user="stranger", password=PASSWORD)

    sentence = failed_start("serve", tmp_path, TAKEOVER_DATABASE_URL=url)

    assert (
        sentence.startswith("TAKEOVER_DATABASE_URL: permission denied for schema public") and PASSWORD not in sentence
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense", "missing"),
        (f"host=x password=a {PASSWORD}", "missing"),
        (f"host=x {PASSWORD}=1", "invalid connection option"),
        (f"postgresql://u:{PASSWORD}%zz@127.0.0.1:1/x", "invalid percent-encoded token"),
        (f"host=x password='{PASSWORD}", "unterminated quoted string"),
    ],
)
def test_an_invalid_connection_string_is_reported_without_its_text(url: str, problem: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        psycopg.connect(url)

    sentence = without_password(str(caught.value), url)

    assert sentence.startswith(f"TAKEOVER_DATABASE_URL is not a connection string of PostgreSQL: {problem}")
    assert "percent-encoded" in sentence and PASSWORD not in sentence and "nonsense" not in sentence


@pytest.mark.parametrize(
    "password", [f"x@{PASSWORD}", f"x/{PASSWORD}", f"{PASSWORD}/x", f"x'@{PASSWORD}", f"x?{PASSWORD}"]
)
async def test_a_password_that_is_not_encoded_does_not_show(password: str) -> None:
    url = f"postgresql://u:{password}@127.0.0.1:1/x"
    with pytest.raises(psycopg.Error) as caught:
        await psycopg.AsyncConnection.connect(url, connect_timeout=5)

    sentence = without_password(str(caught.value), url)

    assert sentence.startswith("TAKEOVER_DATABASE_URL") and PASSWORD not in sentence


def test_a_user_with_the_name_of_the_password_is_still_named() -> None:
    url = "postgresql://postgres:postgres@db/x"
    said = 'password authentication failed for user "postgres"'
    assert without_password(said, url) == f"TAKEOVER_DATABASE_URL: {said}"
