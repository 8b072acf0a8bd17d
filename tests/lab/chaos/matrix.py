"""The crash matrix: which part dies at which moment, and what a test needs to bring that about."""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import psutil
import psycopg

from service.cli.client import Client
from service.cli.errors import ClientError
from service.cli.tables import in_dag_order
from service.cli.transport import Document
from service.model.settings import PROJECT
from service.model.workflow import PRECHECK, REFRESH, RELEASE, RESTART, TAKEOVER, Workflow, load

from ..host import LabHost
from . import processes
from .ground import Ground
from .holds import Holds

WORKFLOWS = load(PROJECT)
CANCEL, ROLLBACK = "cancel", "rollback"
MOMENTS = (*WORKFLOWS[TAKEOVER].roles, CANCEL, ROLLBACK, PRECHECK, RELEASE, REFRESH)
ALONE = (RESTART,)  # moments at which no other host of the OBProxy cluster has a run
PARTS = ("api", "worker", "playbook", "child", "forkserver", "postgres", "sshd")
AT_A_TIME = 5  # hosts of one round: what dies for all of them dies once

_DEADLINE = 180.0  # seconds for anything; a machine that does other things too is slow
_LEFTOVER = "mkdir -p /etc/ansible/facts.d && touch /etc/ansible/facts.d/.obproxy-takeover-old"
_HELD_IN = {
    CANCEL: "install_rpm",
    ROLLBACK: "sync_obproxy_parameter",
    PRECHECK: "sync_obproxy_parameter",
    RELEASE: "remove_obproxy_record",
    REFRESH: "sync_obproxy_parameter",
    RESTART: "restart_obproxy",
}
"""The role in which a task instance is held at a moment that is not a role of a takeover."""


@dataclass(frozen=True)
class Round:
    """One part dies while each of several task instances is at a moment of its own."""

    part: str
    moments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.part}-at-{'+'.join(self.moments)}"


def rounds() -> list[Round]:
    """All, with CHAOS=all in the environment; one, with CHAOS=part:moment+moment; else a sample by CHAOS_SEED."""
    asked = os.environ.get("CHAOS", "")
    if asked == "all":
        slices = [MOMENTS[start : start + AT_A_TIME] for start in range(0, len(MOMENTS), AT_A_TIME)] + [ALONE]
        return [Round(part, moments) for part in PARTS for moments in slices]
    if asked:
        part, _, moments = asked.partition(":")
        return [Round(part, tuple(moments.split("+")))]
    chosen = random.Random(seed())
    sample = [Round(part, tuple(chosen.sample(MOMENTS, 2))) for part in chosen.sample(PARTS, 3)]
    return [*sample, Round(chosen.choice(PARTS), ALONE)]


def seed() -> int:
    """Return the seed: random for each run of the tests (tests/conftest.py), or CHAOS_SEED."""
    return int(os.environ["CHAOS_SEED"])


@dataclass(kw_only=True)
class Subject:
    """A task instance on its way to its moment."""

    host: LabHost
    moment: str
    ground: Ground
    holds: Holds
    client: Client
    role: str = field(default="")  # the one in which it is held
    task_id: int = field(init=False)
    _paused: bool = field(init=False, default=False)

    @property
    def workflow(self) -> Workflow:
        """The workflow of the task instance."""
        return WORKFLOWS.get(self.moment, WORKFLOWS[TAKEOVER])

    def submit(self) -> None:
        """Begin, so that `arrive` finds it held."""
        self.holds.prepare(self.host)
        submit = self._submission()
        self.role = _HELD_IN.get(self.moment, self.moment)
        self.holds.at(self.host, self.role)
        if self.role == "finish":
            self.host.run(_LEFTOVER)  # without one it asks nothing of the host, and is not held
        self.task_id = submit()[0]["id"]

    def _submission(self) -> Callable[[], Sequence[Document]]:
        """Return the call that submits the workflow, after a takeover if the workflow needs a managed OBProxy."""
        take_over = partial(self.client.take_over, 1, [{"hostId": self.host.host_id, "sqlPort": self.host.sql_port}])
        if self.moment == PRECHECK:
            return partial(take_over, check=True)
        managed: Mapping[str, Callable[..., Sequence[Document]]] = {
            RELEASE: self.client.release,
            REFRESH: self.client.refresh,
            RESTART: partial(self.client.restart, allow_cold=True),
        }
        if self.moment not in managed:
            return take_over
        (submitted,) = take_over()
        self.task_id = submitted["id"]
        assert self.wait_for_end()["status"] == "SUCCESSFUL"
        server_id = int(submitted["context"]["stringMap"]["obproxy_server_id"])
        return partial(managed[self.moment], 1, [server_id])

    def arrive(self) -> None:
        """At its moment: the subtask RUNNING; CANCELING; a rollback in its middle."""
        self.wait_for_running(self.role)
        if self.moment == CANCEL:
            self._paused = True
            self.host.pause()  # the host's answer to what is left keeps it CANCELING for some seconds
            self.cancel()
        if self.moment == ROLLBACK:
            self.cancel()
            self.wait_for_end()
            self.holds.release(self.host)
            self.holds.at(self.host, "prepare_create_obproxy")
            self.client.control("rollback", self.task_id)
            self.wait_for_running("prepare_create_obproxy")

    def let_go(self) -> None:
        """Nothing holds it any more."""
        self.thaw()
        self.holds.release(self.host)

    def thaw(self) -> None:
        """Let the host answer again."""
        if self._paused:
            self.host.resume()
        self._paused = False

    def retry(self) -> None:
        self._answered(lambda: self.client.control("retry", self.task_id))

    def check_end(self, document: Document) -> None:
        """All of it is done, or undone."""
        assert document["status"] == "SUCCESSFUL", self.logs(document)
        wanted = "PENDING" if self.moment == ROLLBACK else "SUCCESSFUL"
        assert {subtask["status"] for subtask in document["subtasks"]} == {wanted}

    def reason(self, document: Document) -> str:
        """Return the code at the end of the log of the failed subtask."""
        (failed,) = (subtask for subtask in document["subtasks"] if subtask["status"] == "FAILED")
        log = self._answered(lambda: self.client.log(self.task_id, failed["id"]))
        codes = [line.partition(":")[0] for line in log.splitlines() if line.partition(":")[0].isupper()]
        return codes[-1] if codes else ""

    def logs(self, document: Document) -> str:
        logs = (self.client.log(self.task_id, subtask["id"]) for subtask in in_dag_order(document["subtasks"]))
        return "\n".join(filter(None, logs))

    def ident(self) -> str:
        """Of its newest run."""
        with psycopg.connect(self.ground.postgres.url) as connection:
            query = "SELECT ident FROM run WHERE task_instance_id = %s ORDER BY start_time DESC LIMIT 1"
            row = connection.execute(query, (self.task_id,)).fetchone()
        assert row is not None
        return str(row[0])

    def wait_for_running(self, role: str) -> None:
        wanted = self.workflow.roles.index(role)
        for document in self._states():
            statuses = [subtask["status"] for subtask in in_dag_order(document["subtasks"])]
            if statuses[wanted] == "RUNNING":
                return
            assert document["status"] == "RUNNING", self.logs(document)

    def wait_for_end(self) -> Document:
        for document in self._states():
            if document["status"] != "RUNNING":
                return document
        raise AssertionError

    def _states(self) -> Iterator[Document]:
        deadline = time.monotonic() + _DEADLINE
        while True:
            document = self._answered(lambda: self.client.task(self.task_id))
            yield document
            assert time.monotonic() < deadline, document
            time.sleep(0.1)

    def cancel(self) -> None:
        running = [s for s in self.client.task(self.task_id)["subtasks"] if s["status"] == "RUNNING"]
        self.client.control("cancel", self.task_id, running[0]["id"])

    @staticmethod
    def _answered[Answer](ask: Callable[[], Answer]) -> Answer:
        """Return an answer of a service that may be restarting."""
        deadline = time.monotonic() + _DEADLINE
        while True:
            try:
                return ask()
            except ClientError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def settle(subjects: Sequence[Subject]) -> None:
    """Return the ends of all task instances, by themselves or after a retry when the log gives a reason to."""
    for _ in range(2):
        ends = [(subject, subject.wait_for_end()) for subject in subjects]
        for subject, document in ends:
            if document["status"] != "SUCCESSFUL":
                assert subject.reason(document), f"a failure without a reason: {subject.logs(document)}"
                subject.retry()
    for subject in subjects:
        subject.check_end(subject.wait_for_end())


class Victim(Protocol):
    """A subject of a kill: it has a run, and a host that may be paused."""

    host: LabHost

    def ident(self) -> str: ...

    def thaw(self) -> None: ...


def kill(part: str, ground: Ground, subjects: Sequence[Victim]) -> None:
    """SIGKILL for the part, and what brings it back where nothing of the service does."""
    if part in ("playbook", "child", "forkserver"):
        find = {"playbook": processes.playbook, "child": processes.child, "forkserver": processes.forkserver}[part]
        for victim in {_found(find, subject) for subject in subjects} - {None}:
            with suppress(psutil.NoSuchProcess):
                assert victim is not None
                victim.kill()
    elif part == "sshd":
        for subject in subjects:
            # Its processes for one connection, not the one that listens, and not the shell that searches. There is
            # none when no connection is open.
            subject.thaw()
            subject.host.run("pkill -9 -f 'ssh[d].*: ops' || true")
    elif part == "api":
        ground.api.kill()
        ground.start_api()
    elif part == "worker":
        (worker,) = ground.workers
        worker.kill()
        worker.start()
    else:
        ground.postgres.kill()
        ground.postgres.start()


def _found(find: Callable[[str], psutil.Process], subject: Victim) -> psutil.Process | None:
    """None when a cancel has ended the run already."""
    try:
        return find(subject.ident())
    except psutil.NoSuchProcess:
        assert isinstance(subject, Subject) and subject.moment == CANCEL
        return None
