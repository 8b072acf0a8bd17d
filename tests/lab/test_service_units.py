"""The systemd units of deploy/, installed by the commands of docs/operations.md on a Debian with the real systemd.

`make units` runs this. It takes minutes where it was never run before, so `make test` leaves it out.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.client import Client
from service.model.settings import PROJECT
from tests.waiting import until

from . import Lab, LabHost, debian_packages, wheel
from .chaos.postgres import Postgres
from .podman import podman
from .service import is_okay

pytestmark = pytest.mark.skipif("UNITS" not in os.environ, reason="make units runs it")

API, WORKER = "obproxy-takeover-api", "obproxy-takeover-worker"
DATA = "/var/lib/obproxy-takeover"
DEADLINE = 180.0  # seconds until the service answers, and for a takeover
# In the place of an editor: `editor FILE` writes what an administrator would.
EDITOR = """#!/bin/sh
sed -i -e "s|^TAKEOVER_DATABASE_URL=.*|TAKEOVER_DATABASE_URL={url}|" \\
       -e "s|^TAKEOVER_SECRET_KEY=.*|TAKEOVER_SECRET_KEY={key}|" -e "s|^#TAKEOVER_HOST=|TAKEOVER_HOST=|" "$1"
"""
KEY = "b1J1bGVzLW9mLXRoZS1sYWItb25seS1mb3ItdGVzdHM="


class Machine:
    """A container with systemd and the installed service."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.url = f"http://{self.run('hostname --ip-address').split()[0]}:8080"

    def run(self, script: str) -> str:
        return podman("exec", self._name, "bash", "-euo", "pipefail", "-c", script)

    def write(self, path: str, text: str, mode: str, owner: str = "root") -> None:
        command = f"mkdir -p {Path(path).parent} && cat > {path} && chown {owner} {path} && chmod {mode} {path}"
        subprocess.run(["podman", "exec", "-i", self._name, "sh", "-c", command], input=text, text=True, check=True)

    def property(self, unit: str, name: str) -> str:
        return self.run(f"systemctl show --value -p {name} {unit}").strip()

    def client(self) -> Client:
        """Return a client of the API, which answers."""
        until(lambda: is_okay(self.url), f"no answer at {self.url}", DEADLINE)
        return Client(self.url, self.run(f"cat {DATA}/admin-password").strip())

    def log(self) -> str:
        return self.run(f"journalctl --no-pager -u {API} -u {WORKER} | tail -60")


def commands(heading: str) -> list[str]:
    """Return the commands of root in the first blocks below a sentence of docs/operations.md, joined over lines."""
    text = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    block = text[text.index(heading) :].partition("```console\n")[2].partition("```")[0].replace("\\\n", "")
    return [re.sub(r" {2,}# .*", "", line[2:]) for line in block.splitlines() if line.startswith("# ")]


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[LabHost]:
    started = lab.start("odp-of-units", host_id=6500)
    yield started
    started.remove()


@pytest.fixture(scope="module")
def machine(lab: Lab, host: LabHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Yield a machine on which the service was installed and started by the commands of docs/operations.md."""
    directory = tmp_path_factory.mktemp("units")
    base = debian_packages.base_image("dbus", "openssh-client", "systemd", "systemd-sysv")
    volumes = debian_packages.download(directory, "pip")
    wheel.build(directory / "dist")
    (network,) = json.loads(podman("network", "inspect", lab.network))
    (subnet,) = network["subnets"]
    postgres = Postgres(subnet["gateway"], subnet["subnet"])
    postgres.start()
    name = f"units-{lab.key}"
    podman(
        *("run", "--detach", "--name", name, "--network", lab.network, "--systemd=always", *volumes),
        *(
            "--volume",
            f"{directory}/dist:/root/dist:ro",
            "--volume",
            f"{lab.inventory}:/etc/obproxy-takeover/inventory:ro",
        ),
        *(base, "/lib/systemd/systemd"),
    )
    try:
        started = Machine(name)
        _install(started, lab, postgres.url)
        yield started
    finally:
        podman("rm", "--force", "--time", "0", "--volumes", name)
        postgres.stop()


def _install(machine: Machine, lab: Lab, database_url: str) -> None:
    machine.write("/usr/local/bin/editor", EDITOR.format(url=database_url, key=KEY), "0755")
    install, units = commands("## Install"), commands("Systemd units are")
    assert len(install) == 2 and len(units) == 5
    for command in install:
        machine.run(f"cd /root && {command}")
    account, *others = units
    machine.run(account)
    for name, mode in (("ssh-key", "0400"), ("known_hosts", "0444")):  # their paths in the lab's inventory
        machine.write(str(lab.directory / name), (lab.directory / name).read_text(), mode, "obproxy-takeover")
    project = "/opt/obproxy-takeover/bin/python -c 'from service.model.settings import PROJECT; print(PROJECT)'"
    for command in others:
        machine.run(f'cd "$({project})" && {command}')


def wait_for_success(machine: Machine, client: Client, task_id: int) -> None:
    until(lambda: client.task(task_id)["status"] != "RUNNING", "it does not end", DEADLINE)
    assert client.task(task_id)["status"] == "SUCCESSFUL", machine.log()


def test_the_units_take_a_host_over(machine: Machine, host: LabHost) -> None:
    with machine.client() as client:
        (accepted,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
        wait_for_success(machine, client, accepted["id"])

    for unit in (API, WORKER):
        assert machine.property(unit, "NRestarts") == "0", machine.log()
        assert machine.property(unit, "User") == "obproxy-takeover"


def test_a_killed_worker_is_started_again(machine: Machine) -> None:
    machine.run(f"systemctl kill --signal=KILL {WORKER}")

    with machine.client() as client:
        (server,) = client.cluster(1)["obproxies"]
        (accepted,) = client.refresh(1, [server["id"]])
        wait_for_success(machine, client, accepted["id"])

    assert machine.property(WORKER, "NRestarts") == "1"


def test_commands_run_with_the_settings_of_the_units(machine: Machine) -> None:
    (command,) = commands("To run commands with the settings")

    assert "admin" in machine.run(command)


def test_a_stop_leaves_no_process(machine: Machine) -> None:
    machine.run(f"systemctl stop {API} {WORKER}")

    assert [machine.property(unit, "Result") for unit in (API, WORKER)] == ["success", "success"], machine.log()
    assert machine.run("pgrep --list-full --euid obproxy-takeover || true") == ""
