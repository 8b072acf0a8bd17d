"""The systemd units and their environment file fit the service."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from service.cli.main import main
from service.model.settings import PREFIX, PROJECT, Settings

INSTALLING = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
UNITS = sorted((PROJECT / "deploy").glob("*.service"))


def unit(name: str) -> configparser.SectionProxy:
    """Return the [Service] section of a unit."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PROJECT / "deploy" / name)
    return parser["Service"]


def settings_of(text: str) -> set[str]:
    return {
        name.removeprefix(PREFIX).lower() for name in re.findall(rf"^\s*#?\s*({PREFIX}[A-Z_]+)=", text, re.MULTILINE)
    }


@pytest.mark.parametrize("name", [path.name for path in UNITS])
def test_a_unit_starts_a_command_that_there_is_with_settings_that_there_are(name: str) -> None:
    service = unit(name)
    program, command = service["ExecStart"].split()
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]

    assert Path(program).name in scripts
    assert f"# {Path(program).parent}/pip install " in INSTALLING, "where the document puts the wheel"
    assert command in get_command(main).commands  # type: ignore[attr-defined]
    assert settings_of(service["Environment"].replace(" ", "\n")) <= set(Settings.model_fields)


def test_a_worker_has_time_to_drain_and_stops_its_runs_itself() -> None:
    service = unit("obproxy-takeover-worker.service")
    grace = Settings.model_fields["shutdown_grace"].default

    assert float(service["TimeoutStopSec"]) >= grace + 30
    assert service["KillMode"] == "mixed"


def test_the_environment_file_sets_existing_settings() -> None:
    text = (PROJECT / "deploy" / "obproxy-takeover.env").read_text(encoding="utf-8")

    assert {"database_url", "secret_key", "inventory"} <= settings_of(text) <= set(Settings.model_fields)
