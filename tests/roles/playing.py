"""Running the playbooks as an operator does, by bare ansible-playbook, and reading the outcome."""

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.forks.server import ANSIBLE, ROOT, Server
from tests.lab import Lab, LabHost

PROGRAM = ROOT / ".venv" / "bin" / "ansible-playbook"
DEADLINE = 300  # seconds, on a machine that is busy with other tests
CONNECTION_TIMEOUT = 60  # seconds to log in and to become root, on such a machine
RUN = "run-of-the-tests"


@dataclass(frozen=True)
class Play:
    """The result of one run of a playbook: exit status, output, and the results of its tasks in order."""

    code: int
    text: str
    lines: list[dict[str, Any]]

    def stats(self, host: LabHost) -> dict[str, int]:
        return dict(self.lines[-1]["stats"][host.name])

    def results(self, host: LabHost) -> list[tuple[str, dict[str, Any]]]:
        """Role ("" outside of roles) and result."""
        return [(line["role"], line["result"]) for line in self.lines if line.get("host") == host.name]

    def result(self, host: LabHost, role: str) -> dict[str, Any]:
        """Return the last result of a role."""
        return [result for name, result in self.results(host) if name == role][-1]

    def failure(self, host: LabHost) -> tuple[str, str]:
        """Return the failing role ("" for the discovery) and its message."""
        for line in self.lines[:-1]:
            if line["host"] == host.name and line["outcome"] in ("failed", "unreachable"):
                return line["role"], line["result"]["msg"]
        raise AssertionError(f"nothing failed on {host.name}:\n{self.text}")

    def changed(self, host: LabHost) -> list[str]:
        """Return the roles that changed something, in order."""
        return [role for role, result in self.results(host) if result.get("changed")]

    def server(self, host: LabHost) -> dict[str, Any]:
        """Return the results about the OBProxy server, merged as the service does."""
        merged: dict[str, Any] = {}
        for _, result in self.results(host):
            told = result.get("obproxy_server") or {}
            merged |= told | {"parameters": merged.get("parameters", {}) | told.get("parameters", {})}
        return merged


def play(
    lab: Lab,
    *hosts: LabHost,
    playbook: str = "takeover",
    arguments: tuple[str, ...] = (),
    variables: Mapping[str, object] | None = None,
    host_variables: Mapping[str, Mapping[str, object]] | None = None,
    as_program: bool = False,
) -> Play:
    """Run a playbook on some hosts of the lab; variables for all of them, or by host's name.

    With `as_program`, ansible-playbook is started as a program, which takes twice the CPU time of a fork.
    """
    with tempfile.TemporaryDirectory() as directory:
        results, output = Path(directory) / "results", Path(directory) / "output"
        own = Path(directory) / "own.yml"
        own.write_text(json.dumps({"all": {"hosts": host_variables or {}}}))
        command = [
            str(PROGRAM),
            "-i",
            str(lab.inventory),
            "-i",
            str(own),
            "-l",
            ",".join(host.name for host in hosts),
            *arguments,
        ]
        if variables:
            (Path(directory) / "variables.json").write_text(json.dumps(variables))
            command += ["-e", f"@{directory}/variables.json"]
        command.append(str(ROOT / "playbooks" / f"{playbook}.yml"))
        own_environment = {
            "ANSIBLE_LOCAL_TEMP": directory,
            "ANSIBLE_SSH_CONTROL_PATH_DIR": directory,
            "RESULTS_AS_LINES": str(results),
        }
        run = run_program if as_program else _server(lab.directory).run
        code = run(command, _environment(lab.directory) | own_environment, output, DEADLINE)
        text = output.read_text()
        assert results.exists(), text
        assert "[WARNING]" not in text, text
        return Play(code, text, [json.loads(line) for line in results.read_text().splitlines()])


def _environment(home: Path) -> dict[str, str]:
    """Return the environment that all plays have in common."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "results_as_lines",
        "ANSIBLE_TIMEOUT": str(CONNECTION_TIMEOUT),
        "OBPROXY_TAKEOVER": RUN,
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},  # of `make coverage`
    }


@functools.cache
def _server(home: Path) -> Server:
    return Server(ANSIBLE, _environment(home))


def run_program(arguments: Sequence[str], environment: Mapping[str, str], output: Path, seconds: float) -> int:
    """Run a program with its output in a file; return its exit status."""
    with output.open("w") as file:
        return subprocess.run(
            arguments, env=environment, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, timeout=seconds
        ).returncode
