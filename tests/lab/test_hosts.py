"""The hosts of the lab are what their states say, reached the way that Ansible reaches them."""

import subprocess

import pytest

from .fixtures import StartHost
from .host import LabHost
from .lab import Lab


def _ssh(lab: Lab, host: LabHost, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(lab.ssh_command(host, command), capture_output=True, text=True, check=False, timeout=20)


@pytest.mark.parametrize("version", ["4.3.1.0-1", "1.9.1.1-1919579"])
def test_a_running_host_is_reached_by_ssh_and_runs_its_proxy_as_admin(
    lab: Lab, lab_host: StartHost, version: str
) -> None:
    host = lab_host(version=version)
    pid = host.proxy_pid()
    seen = _ssh(lab, host, f"sudo -n stat -c %U /proc/{pid}; sudo -n readlink /proc/{pid}/exe /proc/{pid}/cwd")
    assert seen.stdout.split() == ["admin", f"{host.home}/bin/obproxy", host.home], seen.stderr
    assert host.run(f"cat /proc/{pid}/comm").strip() == "obproxy"
    package = host.run(f"rpm -qf {host.home}/bin/obproxy").strip()
    assert package == f"obproxy-{version}.el7.x86_64"
