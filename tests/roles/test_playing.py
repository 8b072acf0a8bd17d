"""A forked ansible-playbook reports what the program reports, and ends when its client is killed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil

from tests.forks.server import ANSIBLE, FORKED, Server
from tests.lab import Lab
from tests.lab.fixtures import StartHost
from tests.waiting import until

from .playing import Play, play


def test_a_forked_playbook_reports_the_same_as_the_program(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("other-password")
    forked, program = (
        play(lab, host, arguments=("--check", "--diff", "-v"), as_program=as_program) for as_program in (False, True)
    )
    assert forked.code == program.code == 2
    assert comparable(forked.text) == comparable(program.text)
    assert results(forked) == results(program)


def comparable(text: str) -> str:
    """Return a text without temporary paths, times, the free space of disks, and the place of line ends."""
    return re.sub(r"/tmp/\w+|\d{4}-\d\d-\d\d.*|\d+\.\d+s|\d{5,}|\s+", "", text)


def results(done: Play) -> list[str]:
    return [comparable(json.dumps(line | {"at": 0}, sort_keys=True)) for line in done.lines]


def test_a_killed_client_ends_the_playbook_in_the_fork(tmp_path: Path) -> None:
    server = Server(ANSIBLE, os.environ)
    try:
        playbook, started = tmp_path / "playbook.yml", tmp_path / "started"
        step = {"ansible.builtin.raw": f"echo $$ > {started}.new; mv {started}.new {started}; exec sleep 600"}
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [step]}]))
        command = [sys.executable, str(FORKED), "ansible-playbook", "-c", "local", str(playbook)]
        client = subprocess.Popen(command, env=os.environ | {"FORK_SERVER": server.address}, stdout=subprocess.PIPE)
        pid = int(until(lambda: started.read_text() if started.exists() else None, "it did not start"))
        assert psutil.pid_exists(pid)
        client.kill()
        client.communicate(timeout=60)
        until(lambda: not psutil.pid_exists(pid) or None, "it still runs")
    finally:
        server.close()
