"""The collection: built and installed without a network, its playbook takes a host over by its full name."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from service.model.settings import PROJECT

from . import Lab
from .fixtures import StartHost

DEADLINE = 300  # seconds, on a machine that is busy with other tests


def _run(program: str, *arguments: str | Path, cwd: Path, **environment: str) -> str:
    ended = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *map(str, arguments)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_it_takes_a_host_over_where_it_is_installed(lab: Lab, lab_host: StartHost, tmp_path: Path) -> None:
    host = lab_host()
    collections = tmp_path / "collections"
    _run("ansible-galaxy", "collection", "build", "--output-path", tmp_path, cwd=PROJECT)
    (archive,) = tmp_path.glob("obproxy-takeover-*.tar.gz")
    _run("ansible-galaxy", "collection", "install", "--offline", "-p", collections, archive, cwd=tmp_path)

    with tempfile.TemporaryDirectory(prefix="cp-") as sockets:  # the path of a socket has at most 107 bytes
        output = _run(
            "ansible-playbook",
            *("-i", lab.inventory, "-l", host.name, "obproxy.takeover.takeover"),
            cwd=tmp_path,
            ANSIBLE_COLLECTIONS_PATH=str(collections),
            ANSIBLE_SSH_CONTROL_PATH_DIR=sockets,
        )

    assert "failed=0" in output and str(PROJECT) not in output
    fact = host.run("cat /etc/ansible/facts.d/obproxy.fact")
    assert '"managed_by"' in fact


def test_each_kind_of_plugin_is_documented_by_its_full_name(tmp_path: Path) -> None:
    for kind, name in (
        ("module", "obproxy_discover"),
        ("callback", "obproxy_takeover_record"),
        ("inventory", "obproxy_takeover"),
    ):
        shown = _run(
            "ansible-doc", "-t", kind, f"obproxy.takeover.{name}", cwd=PROJECT, ANSIBLE_HOME=str(tmp_path / "home")
        )
        assert f"obproxy.takeover.{name}" in shown
