"""Runs the commands of the README and of the documents for callers, people on call and administrators.

The service and the commands are those of the wheel, in a directory that is no checkout; only those of the README are
those of a checkout.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.client import Client
from service.model.settings import PROJECT

from . import HostSpec, Lab, states
from .service import Service, running

DEADLINE = 300  # seconds for all commands of one document
IN_CHECKOUT, INSTALLED = ".venv/bin/python -m service", "obproxy-takeover"  # the names of the command
HOSTS = [
    HostSpec("odp-1", 1, "running", states.DEFAULT_VERSION, 2883, ""),
    HostSpec("odp-2", 2, "running", states.DEFAULT_VERSION, 2883, ""),
    HostSpec("odp-3", 3, "wrong-password", states.DEFAULT_VERSION, 2883, ""),
]


@pytest.fixture(scope="module")
def service(lab: Lab, installed: Path) -> Iterator[Service]:
    """Yield the service of the documents' reader, with the hosts that the documents name."""
    hosts = lab.start_many(HOSTS)
    directory = lab.directory / "reader"
    directory.mkdir()
    (directory / "inventory").symlink_to(lab.inventory)
    with running(directory, lab.inventory, program=(str(installed / "bin" / INSTALLED),)) as started:
        yield started
    for host in hosts:
        host.remove()


def commands(document: str) -> list[str]:
    """Return the blocks of commands of a document."""
    text = (PROJECT / "docs" / document).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def play(service: Service, blocks: list[str], installed: Path | None = None) -> str:
    """Give all blocks to one shell, which stops at the first failure; what they print.

    With `installed`, the shell has the command of the wheel, under the name that the documents give for it.
    """
    port = service.url.rpartition(":")[2]
    script = "\n".join(["set -eux", *blocks]).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    environment = {**os.environ, "COLUMNS": "200", "OBPROXY_TAKEOVER_URL": service.url}
    if installed:
        script = script.replace(IN_CHECKOUT, INSTALLED)
        environment["PATH"] = f"{installed}/bin:{environment['PATH']}"
    else:
        environment["PYTHONPATH"] = str(PROJECT)
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=service.data_dir.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-6000:]}"
    return done.stdout


def test_readme(service: Service) -> None:
    environment = service.data_dir.parent / ".venv"
    environment.symlink_to(PROJECT / ".venv")
    (block,) = commands("../README.md")
    assert '"hostId": 1,' in block, "the host of `make lab-up`; callers.md takes it over below"
    printed = play(service, [block.replace('"hostId": 1,', '"hostId": 2,')])

    environment.unlink()  # the other documents are read without a checkout
    assert '"subtasks":[{"className"' in printed
    assert printed.count("SUCCESSFUL ") >= 12


def test_callers(service: Service, installed: Path) -> None:
    blocks = commands("callers.md")
    printed = play(service, blocks, installed)

    assert len(blocks) == 15
    assert '"pending":0' in printed, "the end of the discoveries"
    assert '2883,"4.3.1.0-1","test",[]]' in printed, "the OBProxy that was discovered"
    assert '"status":"SUCCESSFUL"' in printed
    assert '"SUCCESSFUL": 1' in printed, "the hosts of the request by state"
    assert "Set state for subtask" in printed
    assert printed.count("SUCCESSFUL ") >= 12
    assert re.search(r"^true$", printed, re.MULTILINE), "the signed request"


def test_on_call(service: Service, installed: Path) -> None:
    directory: Path = service.data_dir.parent
    (directory / "proxysys-password").write_text(states.UNKNOWN_PASSWORD, encoding="utf-8")
    with service.client() as client:
        failed = client.take_over(1, [{"hostId": 3, "sqlPort": 2883}])[0]["id"]
        assert list(client.watch([failed]))[-1][0]["status"] == "FAILED"
    blocks = commands("on-call.md")
    printed = play(service, blocks, installed)

    assert len(blocks) == 8
    assert re.search(r"^Request \d+: SUCCESSFUL after .* Hosts: 1 SUCCESSFUL.$", printed, re.MULTILINE)
    assert "denied" in printed, "what discovery says of the password"
    assert f"rollback {failed}" in printed and "failed again" in printed
    assert (directory / "diagnosis.zip").stat().st_size > 1000
    assert "==> task_info.txt <==" in (directory / "diagnosis.txt").read_text(encoding="utf-8")
    with service.client() as client:
        assert states_of(client)[:2] == ["SUCCESSFUL", "SUCCESSFUL"]


def test_administrators(service: Service, installed: Path) -> None:
    blocks = commands("administrators.md")
    printed = play(service, blocks, installed)

    assert len(blocks) == 6
    assert "OBPROXY_MANAGER, TASK_VIEWER" in printed
    assert "okay" in printed
    assert "COMMAND\tkey retire\t200" in printed, "the audit"


def states_of(client: Client) -> list[str]:
    """Return the paths of the newest task instances."""
    return [document["status"] for document in client.tasks(size=5)]
