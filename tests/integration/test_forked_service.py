"""The service in a fork does what the program does."""

import os
import re
import resource
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from service.model.settings import PROJECT
from tests.lab.service import PROGRAM, fork_server, running
from tests.waiting import until

DEADLINE = 120.0
INVENTORY = """\
#!/bin/sh
(pwd; env | sort) > {seen}
echo '{{"_meta": {{"hostvars": {{"a": {{"ocp_host_id": 1}}}}}}, "all": {{"hosts": ["a"]}}}}'
"""


def test_a_forked_service_is_like_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORMER", "1")
    fork_server()  # with another environment and working directory than the service
    monkeypatch.delenv("FORMER")
    monkeypatch.setenv("MARK", "of this test")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))

    forked, program = (observed(tmp_path / name, monkeypatch, forked=name == "fork") for name in ("fork", "program"))

    for name, lines in program.items():
        assert forked[name] == lines, name
    assert "MARK=of this test" in forked["inventory"]
    assert forked["working directory"] == ["DIRECTORY"] and forked["exit status"] == [str(-signal.SIGTERM)]


def observed(directory: Path, monkeypatch: pytest.MonkeyPatch, *, forked: bool) -> dict[str, list[str]]:
    """Start and stop a service; return what it has and does, without what differs between two programs."""
    directory.mkdir()
    monkeypatch.chdir(directory)
    inventory, seen = directory / "inventory", directory / "seen"
    inventory.write_text(INVENTORY.format(seen=seen))
    inventory.chmod(0o755)
    with running(directory, inventory, forked=forked, worker="false", inventory_environment="MARK,FORMER") as service:
        process = psutil.Process(service.process.pid)
        files = Path(f"/proc/{process.pid}")
        found = {
            "working directory": [process.cwd()],
            "leads a session": [str(os.getsid(process.pid) == process.pid)],
            "core dumps": [str(process.rlimit(resource.RLIMIT_CORE))],
            "umask": re.findall(r"Umask:.*", (files / "status").read_text()),
            "streams": [str((files / f"fd/{number}").readlink()) for number in range(3)],
            "inventory": seen.read_text().splitlines(),
        }
        assert working_in(directory)
    found |= {"exit status": [str(service.process.poll())], "log": service.log.read_text().splitlines()}
    until(lambda: not working_in(directory), "some of its processes are left")
    port = service.url.rpartition(":")[2]
    changing = {
        str(directory): "DIRECTORY",
        rf"\b{port}\b": "PORT",
        rf"\b{process.pid}\b": "PID",
        r"^\d{4}-\S+": "TIME",
        r"ansible-\w{8}\b": "TEMPORARY",
        r" +": " ",  # a log line is padded to a column
    }
    for pattern, name in changing.items():
        found = {key: [re.sub(pattern, name, line) for line in lines] for key, lines in found.items()}
    return found


def working_in(directory: Path) -> list[psutil.Process]:
    """Return the processes with a working directory below a directory."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and Path(process.cwd()).is_relative_to(directory):
                found.append(process)
    return found


def test_a_start_that_fails_has_the_output_and_status_of_the_program(tmp_path: Path) -> None:
    environment = os.environ | {"TAKEOVER_PORT": "none"}
    log = tmp_path / "log"
    status = fork_server().start([*PROGRAM, "serve"], environment, log).wait(DEADLINE)
    program = subprocess.run(
        [*PROGRAM, "serve"], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE
    )
    assert (status, log.read_text()) == (program.returncode, program.stderr) and "TAKEOVER_PORT" in program.stderr
