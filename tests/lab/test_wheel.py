"""The wheel: built and installed without a network, it takes a host over from a directory that is no checkout."""

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from email import message_from_string
from pathlib import Path

import pytest

from service.model import workflow
from service.model.settings import PROJECT
from service.model.workflow import SubtaskTemplate

from . import Lab
from .fixtures import StartHost
from .service import running
from .wheel import OFFLINE, built_wheel, run

DEADLINE = 120  # seconds
NOT_SHIPPED = {"molecule", "__pycache__"}


def _shipped(installed: Path) -> Path:
    (directory,) = installed.glob("lib/python*/site-packages/service/project/ansible_collections/obproxy/takeover")
    return directory


def _subtasks(project: Path) -> dict[str, Sequence[SubtaskTemplate]]:
    return {name: known.subtasks for name, known in workflow.load(project).items()}


def test_it_contains_the_files_of_the_service(installed: Path, tmp_path: Path) -> None:
    told = run(
        installed / "bin" / "python", "-c", "from service.model.settings import PROJECT; print(PROJECT)", cwd=tmp_path
    )
    assert Path(told.strip()) == _shipped(installed).resolve()
    assert _subtasks(_shipped(installed)) == _subtasks(PROJECT)


@pytest.mark.parametrize("tree", ["service", "deploy", "inventory", "meta", "playbooks", "plugins", "roles"])
def test_nothing_is_missing_and_no_tests_are_in_it(installed: Path, tree: str) -> None:
    def files(root: Path) -> set[Path]:
        found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return {path for path in found if not NOT_SHIPPED & set(path.parts) and path.parts[0] != "project"}

    (packages,) = installed.glob("lib/python*/site-packages")
    there = packages / tree if tree == "service" else _shipped(installed) / tree
    assert files(there) == files(PROJECT / tree)
    assert not [path for path in there.rglob("molecule")]


def test_the_document_leads_to_the_files_of_its_steps(installed: Path, tmp_path: Path) -> None:
    document = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    (change,) = re.findall(r"^\$ (cd .+)$", document, re.MULTILINE)
    steps = re.findall(r"^# install -m \d+ (deploy/\S+)", document, re.MULTILINE)
    assert len(steps) == 2

    command = change.replace("/opt/obproxy-takeover", str(installed))
    run("bash", "-euc", f"{command} && ls {' '.join(steps)} playbooks/takeover.yml inventory", cwd=tmp_path)


def test_the_inventory_in_it_is_read_by_default(installed: Path, tmp_path: Path) -> None:
    listed = run(
        installed / "bin" / "python",
        "-c",
        "import asyncio; from service.inventory.reader import read; from service.model.settings import Settings; "
        "print(sorted(asyncio.run(read(Settings().inventory)).clusters))",
        cwd=tmp_path,
    )
    assert listed.strip() != "[]"


def test_it_takes_a_host_over(installed: Path, lab: Lab, lab_host: StartHost, tmp_path: Path) -> None:
    host = lab_host()
    program = (str(installed / "bin" / "obproxy-takeover"),)
    with running(tmp_path, lab.inventory, program=program) as service, service.client() as client:
        assert b"</html>" in urllib.request.urlopen(f"{service.url}/login").read()  # noqa: S310
        (accepted,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
        deadline = time.monotonic() + DEADLINE
        for (document,) in client.watch([accepted["id"]]):
            assert time.monotonic() < deadline, document
        assert document["status"] == "SUCCESSFUL", service.log.read_text()


def test_an_older_python_is_rejected_by_its_version(installed: Path, tmp_path: Path) -> None:
    """Older versions of pip name a dependency instead, so docs/operations.md makes an environment with the newest."""
    wheel = built_wheel(installed)
    asked = ("--dry-run", "--python-version", "3.11", "--only-binary=:all:", "--target", tmp_path / "target", wheel)
    done = subprocess.run(
        [*map(str, (sys.executable, "-m", "pip", "install", *OFFLINE, *asked))], capture_output=True, text=True
    )

    (about,) = installed.glob("lib/python*/site-packages/obproxy_takeover-*.dist-info/METADATA")
    assert message_from_string(about.read_text(encoding="utf-8"))["Requires-Python"] == ">=3.12"
    assert done.returncode != 0
    assert "Package 'obproxy-takeover' requires a different Python: 3.11.0 not in '>=3.12'" in done.stderr
