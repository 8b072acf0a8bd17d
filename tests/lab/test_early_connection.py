"""A forked run opens its only ssh connection while Ansible loads the playbook."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .test_forked import taken_over

NOTHING = " :"  # what the early connection executes on the host, at the end of the command line of ssh

# A ProxyCommand that records the command line of its ssh, and closes the first `rejected` connections.
PROXY = """\
#!{python} -S
import os, socket, sys
from pathlib import Path

log = Path({log!r})
command = Path(f"/proc/{{os.getppid()}}/cmdline").read_bytes().replace(b"\\0", b" ")
with log.open("ab") as file:
    file.write(command + b"\\n")
if len(log.read_bytes().splitlines()) > {rejected}:
    connected = socket.create_connection((sys.argv[1], sys.argv[2]))
    socket.send_fds(socket.socket(fileno=1), [b"0"], [connected.fileno()])
"""


def inventory_with_proxy(lab: Lab, host: LabHost, directory: Path, rejected: int) -> tuple[Path, Path]:
    """Write an inventory whose host is reached through `PROXY`; return it and the file with the command lines."""
    log, proxy = directory / "connections", directory / "proxy"
    proxy.write_text(PROXY.format(python=sys.executable, log=str(log), rejected=rejected), encoding="utf-8")
    proxy.chmod(0o700)
    tree: dict[str, Any] = yaml.safe_load((lab.inventory / "hosts.yml").read_text(encoding="utf-8"))
    tree["all"]["vars"]["ansible_ssh_common_args"] += f" -o ProxyUseFdpass=yes -o ProxyCommand='{proxy} %h %p'"
    inventory = directory / "inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return inventory, log


def recorded(log: Path) -> list[str]:
    """Return the recorded command lines."""
    return [line.rstrip() for line in log.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("rejected", [0, 1])
async def test_a_forked_run_connects_before_its_first_task(
    lab: Lab, lab_host: StartHost, tmp_path: Path, rejected: int
) -> None:
    """An early connection that fails is not reported: the first Ansible task opens another one."""
    host = lab_host()
    inventory, log = inventory_with_proxy(lab, host, tmp_path, rejected)

    events, end = await taken_over(inventory, host, "forked")

    commands = recorded(log)
    assert (end.rc, end.status, end.tree_gone) == (0, "successful", True), end.last_lines
    assert [command.endswith(NOTHING) for command in commands] == [True, *[False] * rejected], commands
    assert not [event for event in events if "Connect" in event["stdout"] or "UNREACHABLE" in event["stdout"]]


async def test_a_run_started_as_a_program_connects_with_its_first_task(
    lab: Lab, lab_host: StartHost, tmp_path: Path
) -> None:
    host = lab_host()
    inventory, log = inventory_with_proxy(lab, host, tmp_path, 0)

    _, end = await taken_over(inventory, host, "plain")

    [command] = recorded(log)
    assert end.rc == 0 and not command.endswith(NOTHING)
