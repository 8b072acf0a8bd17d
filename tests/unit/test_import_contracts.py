"""The import contracts of pyproject.toml are kept, and a forbidden import breaks each of them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")

FORBIDDEN = [
    ("model/tasks.py", "import service.tasks.submit", "Each room imports only from the rooms below it"),
    ("api/tasks.py", "import service.worker.worker", "HTTP never imports the work"),
    ("outcome/verdict.py", "import time", "Pure rooms use no database, clock, network or Ansible"),
    ("runs/run.py", "import ansible_runner", "Only a run's child and the fork server import ansible-runner"),
    ("tasks/submit.py", "import starlette", "Only HTTP imports Starlette"),
    ("tasks/submit.py", "import opentelemetry", "Only tracing imports OpenTelemetry"),
]


def lint(directory: Path) -> str:
    """Return what the linter prints about the package in `directory`."""
    run = subprocess.run(
        [LINTER, "--no-cache", "--config", "pyproject.toml"],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(directory), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout + run.stderr


def test_every_contract_is_kept() -> None:
    assert f"Contracts: {len(FORBIDDEN)} kept, 0 broken." in lint(PROJECT)


@pytest.mark.parametrize(("module", "line", "contract"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(tmp_path: Path, module: str, line: str, contract: str) -> None:
    sources = shutil.ignore_patterns("__pycache__", "templates", "static", "locale")
    shutil.copytree(PROJECT / "service", tmp_path / "service", ignore=sources)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    with (tmp_path / "service" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")

    assert f"{contract} BROKEN" in lint(tmp_path)
