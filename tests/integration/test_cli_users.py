"""The commands for users and access keys, on a real database."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import main


class Commands:
    """Runs commands; `password` is their standard input."""

    def __call__(self, *arguments: str, password: str = "") -> str:
        result = self.run(*arguments, password=password)
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.stdout

    def run(self, *arguments: str, password: str = "") -> Result:
        return CliRunner().invoke(main, arguments, input=password + "\n")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> Commands:
    monkeypatch.setenv("TAKEOVER_DATABASE_URL", database_url)
    monkeypatch.setenv("TAKEOVER_DATA_DIR", str(tmp_path / "data"))

    class Repeating(Commands):
        def run(self, *arguments: str, password: str = "") -> Result:
            # A command takes its secret settings out of the environment.
            monkeypatch.setenv("TAKEOVER_DATABASE_URL", database_url)
            return super().run(*arguments, password=password)

    return Repeating()


def test_users(command: Commands) -> None:
    command("user", "add", "anne", "--role", "OBPROXY_MANAGER", "--role", "TASK_VIEWER", password="long enough")
    command("user", "passwd", "anne", password="another one")
    command("user", "disable", "anne")
    listed = command("user", "list")

    assert re.search(r"100\s+admin\s+ADMIN\s+enabled", listed)
    assert re.search(r"\d+\s+anne\s+OBPROXY_MANAGER, TASK_VIEWER\s+disabled", listed)
    command("user", "enable", "anne")
    assert "disabled" not in command("user", "list")


def test_access_keys(command: Commands) -> None:
    made = command("accesskey", "create", "admin")
    found = re.fullmatch(r"AccessKey ID: (\w{16})\nAccessKey Secret: ([0-9a-f]{32})\n", made)
    assert found
    command("accesskey", "disable", found[1])
    listed = command("accesskey", "list")

    assert re.search(rf"{found[1]}\s+admin\s+disabled", listed)
    assert found[2] not in listed
    command("accesskey", "enable", found[1])
    assert re.search(rf"{found[1]}\s+admin\s+enabled", command("accesskey", "list"))


def test_the_file_with_the_first_password_goes_when_it_is_wrong(command: Commands, tmp_path: Path) -> None:
    command("user", "list")
    assert (tmp_path / "data" / "admin-password").exists()

    command("user", "passwd", "admin", password="long enough")

    assert not (tmp_path / "data" / "admin-password").exists()


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (
            ["user", "add", "anne", "--role", "ADMIN"],
            "Invalid user: the password must have 8 to 128 printable characters.",
        ),
        (["user", "disable", "nobody"], "User nobody does not exist."),
        (["accesskey", "create", "nobody"], "User nobody does not exist."),
        (["accesskey", "disable", "x"], "Access key x does not exist."),
    ],
)
def test_an_error_response_is_a_sentence(command: Commands, arguments: list[str], refusal: str) -> None:
    assert str(command.run(*arguments).exception) == refusal


def test_a_role_that_is_none_is_named(command: Commands) -> None:
    result = command.run("user", "add", "anne", "--role", "BOSS", password="long enough")

    assert result.exit_code == 2
    assert "BOSS" in result.output
