"""Each role alone on a lab host of its own, by its molecule scenario (docs/role-authors.md, Molecule)."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.forks.server import ANSIBLE, FORKED, Server
from tests.lab import Lab
from tests.yaml_files import load

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv" / "bin"
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
AT_A_TIME = (os.cpu_count() or 1) + 1  # a run waits for its host about as long as it computes
DEADLINE = 600  # seconds
AS_PROGRAM = "check_command"  # the role that is tested as a role author does it, without forks
STEPS = ["create", "check", "converge", "idempotence", "verify"]  # and those that roll back, and destroy

Run = subprocess.CompletedProcess[str]


def _scenario(role: str) -> Path:
    return ROOT / "roles" / role / "molecule" / "default"


def _host_variables(role: str) -> dict[str, Any]:
    """Return the variables that a scenario sets for its host."""
    (host_vars,) = (
        load(_scenario(role) / "molecule.yml")
        .get("provisioner", {"inventory": {"host_vars": {"": {}}}})["inventory"]["host_vars"]
        .values()
    )
    return dict(host_vars)


def _molecule(role: str, directory: Path, programs: Path, environment: Mapping[str, str]) -> Run:
    directory.mkdir(parents=True)
    environment = {
        **os.environ,
        **environment,
        "PATH": f"{programs}:{BIN}:{os.environ['PATH']}",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(directory),
        "MOLECULE_COMMAND_BORDERS": "0",
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [str(BIN / "molecule"), "--base-config", str(ROOT / ".config" / "molecule" / "config.yml"), "test"],
        cwd=ROOT / "roles" / role,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Start a server of playbooks; yield the directory of Ansible programs that use it, and their environment.

    A role's eight steps start ansible-playbook twice each, and importing Ansible is half of their CPU time.
    """
    directory = tmp_path_factory.mktemp("programs")
    for name in ("ansible-config", "ansible-playbook"):
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{FORKED}" "$0" "$@"\n')
        program.chmod(0o755)
    server = Server(
        ANSIBLE,
        {**os.environ, **_shared()["ansible"]["env"], "MOLECULE_PROJECT_DIRECTORY": str(ROOT / "roles" / AS_PROGRAM)},
    )
    yield directory, {"FORK_SERVER": server.address}
    server.close()


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, lab: Lab, programs: tuple[Path, Mapping[str, str]]
) -> Iterator[dict[str, Future[Run]]]:
    """Run all roles that are to be tested, some at a time."""
    chosen = [item.name.rpartition("[")[2].rstrip("]") for item in request.session.items if item.path == request.path]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {
            role: pool.submit(
                _molecule, role, lab.directory / "molecule" / role, *((BIN, {}) if role == AS_PROGRAM else programs)
            )
            for role in ROLES
            if role in chosen
        }


@pytest.mark.parametrize("role", ROLES)
def test_role_alone(runs: dict[str, Future[Run]], role: str) -> None:
    run = runs[role].result()
    assert run.returncode == 0, run.stdout
    done = [line for line in run.stdout.splitlines() if line.endswith("Executed: Successful")]
    steps = load(_scenario(role) / "molecule.yml").get("scenario", _shared()["scenario"])["test_sequence"]
    # The recap lists every step once more.
    assert len(done) == 2 * len(steps), run.stdout


def _shared() -> dict[str, Any]:
    return dict(load(ROOT / ".config" / "molecule" / "config.yml"))


@pytest.mark.parametrize("role", ROLES)
def test_a_scenario_leaves_nothing_out(role: str) -> None:
    scenario, changes = _scenario(role), _host_variables(role).get("role_changes", True)
    sequence = load(scenario / "molecule.yml").get("scenario", _shared()["scenario"])["test_sequence"]
    side_effects = changes + (ROOT / "roles" / role / "tasks" / "rollback.yml").is_file()
    assert [step.split("/")[0].split()[0] for step in sequence] == [*STEPS, *["side_effect"] * side_effects, "destroy"]
    assert (scenario / "tasks" / "verify.yml").is_file()
    assert (scenario / "tasks" / "half_done.yml").is_file() == changes
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    refusable = [option for option in specs["main"]["options"].values() if option["type"] not in ("str", "path")]
    assert (scenario / "vars" / "bad_arguments.yml").is_file() >= bool(refusable)
    texts = [path.read_text() for path in (ROOT / "roles" / role).rglob("*.yml")]
    assert not any("notest" in text for text in texts), "a task that idempotence leaves out"
