"""The ways to take hosts over, each as a function from hosts to the wall seconds it took.

Every one of them begins without an ssh connection, logs in as the same user, and does the same work on the host and in
SQL; `ground.check` checks the outcome of all alike.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import psutil

from service.cli.transport import Document
from service.model.settings import PROJECT
from tests.lab import Lab, LabHost
from tests.lab.inventory import PROXYRO_PASSWORD, SYS_PASSWORD
from tests.lab.states import ADOPTED_PASSWORD

from .ground import CLUSTER, Ground

Contender = Callable[[Sequence[LabHost]], float]
DEADLINE = 300.0  # seconds one takeover of all hosts may take
_HERE = Path(__file__).parent
_POLL = 0.25  # seconds; the end is read from the documents, so it does not blur the time


class Failed(Exception):
    """A contender could not take a host over."""


def service(ground: Ground) -> Contender:
    """One request over HTTP to the warm service; until the last of its task instances is SUCCESSFUL."""

    def take_over(hosts: Sequence[LabHost]) -> float:
        sent, documents = serve(ground, hosts)
        return max(seconds(document["finishTime"]) for document in documents) - sent

    return take_over


def precheck(ground: Ground) -> Contender:
    """One request for a check over HTTP to the warm service; until the last of its task instances is SUCCESSFUL."""

    def check(hosts: Sequence[LabHost]) -> float:
        sent, documents = serve(ground, hosts, check=True)
        return max(seconds(document["finishTime"]) for document in documents) - sent

    return check


def serve(ground: Ground, hosts: Sequence[LabHost], *, check: bool = False) -> tuple[float, list[Document]]:
    """When the request was sent, and the final documents; raises Failed."""
    asked = [{"hostId": host.host_id, "sqlPort": host.sql_port, "proxysysPasswd": ADOPTED_PASSWORD} for host in hosts]
    sent = time.time()
    waiting = [document["id"] for document in ground.client.take_over(CLUSTER.id, asked, check=check)]
    finished: list[Document] = []
    while waiting:
        time.sleep(_POLL)
        if time.time() > sent + DEADLINE:
            raise Failed(f"task instances {waiting} are still running")
        documents = [ground.client.task(task) for task in waiting]
        for document in documents:
            _raise_for_failure(ground, document)
        finished += [document for document in documents if document["status"] == "SUCCESSFUL"]
        waiting = [document["id"] for document in documents if document["status"] == "RUNNING"]
    return sent, finished


def _raise_for_failure(ground: Ground, document: Document) -> None:
    for subtask in document["subtasks"]:
        if subtask["status"] == "FAILED":
            raise Failed(f"{subtask['name']}: {ground.client.log(document['id'], subtask['id'])}")


def seconds(timestamp: str) -> float:
    """Return a document's timestamp on the clock of `time.time`."""
    return datetime.fromisoformat(timestamp).timestamp()


def bare_playbook(lab: Lab, secrets: Path) -> Contender:
    """Our own playbook by ansible-playbook, all hosts in one process."""
    return _playbook(lab, secrets, PROJECT / "playbooks" / "takeover.yml", PROJECT / "ansible.cfg")


def generic_playbook(lab: Lab, secrets: Path) -> Contender:
    """Run a playbook of generic modules with the same work and Ansible's defaults (generic/takeover.yml)."""
    return _playbook(lab, secrets, _HERE / "generic" / "takeover.yml", _HERE / "generic" / "ansible.cfg")


def asyncssh_script(lab: Lab) -> Contender:
    """Run a script with the same work over one SSH connection per host, without Ansible (by_asyncssh.py)."""

    def take_over(hosts: Sequence[LabHost]) -> float:
        wanted = {
            "hosts": [[host.address, host.sql_port] for host in hosts],
            "key": str(lab.directory / "ssh-key"),
            "known_hosts": str(lab.directory / "known_hosts"),
            "current_password": ADOPTED_PASSWORD,
            "sys_password": SYS_PASSWORD,
            "proxyro_password": PROXYRO_PASSWORD,
            "cluster": CLUSTER.variables,
        }
        path = os.pathsep.join((str(PROJECT / ".collections"), str(PROJECT)))
        return _timed(
            [sys.executable, str(_HERE / "by_asyncssh.py")],
            {**os.environ, "PYTHONPATH": path},
            json.dumps(wanted),
        )

    return take_over


def _playbook(lab: Lab, secrets: Path, playbook: Path, configuration: Path) -> Contender:
    program = Path(sys.executable).with_name("ansible-playbook")

    def take_over(hosts: Sequence[LabHost]) -> float:
        names = ",".join(host.name for host in hosts)
        with _fresh_connections() as control:
            options = ["-i", str(lab.inventory), "-l", names, "-e", f"@{secrets}"]
            environment = {
                **os.environ,
                "ANSIBLE_CONFIG": str(configuration),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control),
            }
            return _timed([str(program), *options, str(playbook)], environment)

    return take_over


def _timed(command: Sequence[str], environment: dict[str, str], text: str = "") -> float:
    with tempfile.TemporaryFile("w+") as output:
        begun = time.monotonic()
        try:
            subprocess.run(
                command,
                env=environment,
                input=text,
                text=True,
                stdout=output,
                stderr=output,
                timeout=DEADLINE,
                check=True,
            )
        except subprocess.SubprocessError as error:
            output.seek(0)
            raise Failed(f"{command[-1]}: {error}\n{output.read()[-4000:]}") from error
        return time.monotonic() - begun


@contextmanager
def _fresh_connections() -> Iterator[Path]:
    """Yield a directory for ControlPersist's sockets; its ssh processes end with it, as those of a run."""
    with tempfile.TemporaryDirectory(prefix="cp-") as control:
        yield Path(control)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if process.name() == "ssh" and control in " ".join(process.cmdline()):
                    process.terminate()
