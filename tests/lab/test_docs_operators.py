"""Runs the playbooks of docs/operators.md in its order, and compares what they print with what the document shows."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from service.model.settings import PROJECT
from tests.forks.server import ANSIBLE, FORKED, Server

from . import HostSpec, Lab, LabHost, states

DEADLINE = 120  # seconds for one playbook
PROGRAM = ".venv/bin/ansible-playbook"
BLOCK = re.compile(rf"^```console\n\$ ({re.escape(PROGRAM)} [^\n]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OMITTED = "…"
HOSTS = {"odp-1": "running", "odp-2": "running"}
LATER = {"odp-8": "restart-needed"}  # a host that a playbook for all hosts must not find
BLOCKS = BLOCK.findall((PROJECT / "docs" / "operators.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Lab]:
    """Yield the lab with the hosts of the document."""
    started = _start(lab, HOSTS)
    yield lab
    for host in started:
        host.remove()


@pytest.fixture
def server() -> Iterator[Server]:
    """Yield a server of forked playbooks: a program takes twice the CPU time."""
    started = Server(ANSIBLE, os.environ)
    yield started
    started.close()


def test_the_playbooks_print_what_the_document_shows(hosts: Lab, server: Server) -> None:
    assert len(BLOCKS) == 7
    later: list[LabHost] = []
    for command, shown in BLOCKS:
        if any(name in command for name in LATER):
            later = _start(hosts, LATER)
        line = command.replace("-i inventory", f"-i {hosts.inventory}")
        printed = _run(line.replace(PROGRAM, f"{sys.executable} -S {FORKED} {PROGRAM}"), server)
        _assert_in_order(_comparable(shown), _comparable(printed), command)
    for host in later:
        host.remove()


def _start(lab: Lab, wanted: dict[str, str]) -> list[LabHost]:
    specs = [
        HostSpec(name, int(name.rpartition("-")[2]), state, states.DEFAULT_VERSION, 2883, "")
        for name, state in wanted.items()
    ]
    return lab.start_many(specs)


def _run(command: str, server: Server) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=PROJECT,
        env=os.environ | {"FORK_SERVER": server.address},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def _comparable(output: str) -> list[str]:
    """Return the lines of an output without what differs between terminals and runs: stars, blanks, process ids."""
    lines = (re.sub(r"\bpid \d+", "pid", re.sub(r" \*+$", "", line.rstrip())) for line in output.splitlines())
    return [line for line in lines if line]


def _assert_in_order(shown: Sequence[str], printed: Sequence[str], command: str) -> None:
    remaining = iter(printed)
    for line in shown:
        if line.strip() != OMITTED:
            assert line in remaining, f"{command} does not print, or not in this order: {line}\n" + "\n".join(printed)
