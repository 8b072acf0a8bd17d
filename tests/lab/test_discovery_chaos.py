"""A discovery of a host ends truthfully whatever part is killed during it, and leaves nothing.

A random sample runs each time: CHAOS_SEED, which the output shows, selects the same one again. CHAOS=all runs all.
"""

import itertools
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from service.cli.client import DISCOVERIES, Client
from service.cli.errors import ClientError
from service.cli.transport import Document
from service.runs.directories import PREFIX

from . import Lab
from .chaos import invariants, processes
from .chaos.ground import Ground
from .chaos.holds import Holds
from .chaos.matrix import PARTS, kill, seed
from .host import LabHost
from .test_precheck import files

DEADLINE = 180.0  # seconds, on a machine that does other things too
CONNECTING, IN_PROGRAM, QUEUED = "connecting", "in a program on the host", "queued"
MOMENTS = (CONNECTING, IN_PROGRAM, QUEUED)
NO_ROLE = "none"  # the discovery is not in a role (Holds)
NO_JOB = "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = 'host_discoveries' AND status IN ('todo', 'doing')"
_host_ids = itertools.count(5900)


def cases() -> list[tuple[str, str]]:
    """Return the parts to kill, each with the moment."""
    every = [(part, moment) for part in PARTS for moment in MOMENTS if _is_alive(part, moment)]
    return every if os.environ.get("CHAOS") == "all" else random.Random(seed()).sample(every, 2)


def _is_alive(part: str, moment: str) -> bool:
    """Return whether the part exists at the moment."""
    return part in ("api", "worker", "postgres") or moment == IN_PROGRAM or (part != "sshd" and moment == CONNECTING)


@pytest.fixture(scope="module")
def holds(lab: Lab) -> Iterator[Holds]:
    """Ways to hold runs of this lab's hosts."""
    with tempfile.TemporaryDirectory(prefix="discovery-chaos-") as directory:
        yield Holds(Path(directory), lab.inventory)


@pytest.fixture(scope="module")
def ground(lab: Lab, holds: Holds) -> Iterator[Ground]:
    """Yield the service in parts."""
    with Ground(lab.directory / "discovery-chaos", holds.inventory) as started:
        yield started


class Discovery:
    """The discovery of a host on its way to the moment."""

    def __init__(self, host: LabHost, ground: Ground, holds: Holds, client: Client) -> None:
        self.host = host
        self._ground, self._holds, self._client = ground, holds, client
        self._ident = ""

    def request(self) -> None:
        assert [each["state"] for each in self._client.discover([self.host.host_id])] == ["PENDING"]

    def arrive(self, moment: str) -> None:
        """Request the discovery and wait until it is held at the moment."""
        if moment == QUEUED:
            for worker in self._ground.workers:
                worker.stop()
            self.request()
            return
        hold = self._holds.in_program if moment == IN_PROGRAM else lambda host: self._holds.at(host, NO_ROLE)
        hold(self.host)
        self.request()
        while_waiting = time.monotonic() + DEADLINE
        while not self._is_at(moment):
            assert time.monotonic() < while_waiting, "the run does not start"
            time.sleep(0.05)

    def _is_at(self, moment: str) -> bool:
        directories = Path("/dev/shm").glob(f"{PREFIX}{self._ground.workers[0].pid}-*/artifacts/*")
        self._ident = next((path.name for path in directories), "")
        with suppress(psutil.NoSuchProcess):
            return bool(self._ident and processes.playbook(self._ident)) and (
                moment == CONNECTING or any("environ" in line for line in processes_of_runs(self.host))
            )
        return False

    def ident(self) -> str:
        """Return the ident of the run."""
        return self._ident

    def thaw(self) -> None:
        """Do nothing: the host answers at all moments."""

    def let_go(self, moment: str) -> None:
        """Nothing holds it any more."""
        self._holds.release(self.host)
        if moment == QUEUED:
            for worker in self._ground.workers:
                if not worker.alive:
                    worker.start()

    def end(self) -> Document:
        """Return the host's document when its discovery has ended; a service that restarts may not answer yet."""
        deadline = time.monotonic() + DEADLINE
        while True:
            with suppress(ClientError):
                (found,) = self._client.all(DISCOVERIES, hostId=self.host.host_id)["contents"]
                if found["state"] != "PENDING":
                    return dict(found)
            assert time.monotonic() < deadline, "the host stays PENDING"
            time.sleep(0.1)


def processes_of_runs(host: LabHost) -> list[str]:
    """Return the processes of the service's runs on a host, and its ssh connections."""
    inherited = "grep -lsa OBPROXY_TAKEOVER= /proc/[0-9]*/environ"
    return host.run(f"{inherited}; pgrep -af 'ssh[d].*: ops' || true").splitlines()


@pytest.mark.parametrize(("part", "moment"), cases(), ids=str)
def test_a_discovery_ends_truthfully(part: str, moment: str, lab: Lab, ground: Ground, holds: Holds) -> None:
    print(f"CHAOS_SEED={seed()}")
    with ExitStack() as stack:
        number = next(_host_ids)
        host = lab.start(f"discovery-{number}", host_id=number)
        stack.callback(host.remove)
        holds.prepare(host)
        client = stack.enter_context(ground.client())
        discovery = Discovery(host, ground, holds, client)
        before = files(host)
        workers = {worker.pid for worker in ground.workers}

        discovery.arrive(moment)
        stack.callback(discovery.let_go, moment)
        kill(part, ground, [discovery])
        discovery.let_go(moment)
        found = discovery.end()

        print(f"{part} killed while {moment}: {found['state']} {found.get('message', '')}")
        assert found["state"] == "DISCOVERED" or found["message"], "a failure without a reason"
        if part == "api" or moment == QUEUED:
            assert found["state"] == "DISCOVERED"
        workers |= {worker.pid for worker in ground.workers}
        check_leftovers(ground, discovery, workers, before)

        discovery.request()
        found = discovery.end()
        assert found["state"] == "DISCOVERED" and [one["pid"] for one in found["obproxies"]] == [host.proxy_pid()]


def check_leftovers(ground: Ground, discovery: Discovery, workers: set[int], before: set[str]) -> None:
    """Wait until no job, directory or process of the run is left, here or on the host."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            with psycopg.connect(ground.postgres.url) as connection:
                row = connection.execute(NO_JOB).fetchone()
            assert row == (0,), "a job of an ended discovery is left"
            left = list(processes.alive(processes.of_run(discovery.ident()))) if discovery.ident() else []
            assert not left, f"processes of the run are left on the controller: {left}"
            invariants.check_directories(workers)
            on_host = processes_of_runs(discovery.host)
            assert not on_host, f"processes are left on the host: {on_host}"
            assert sorted(files(discovery.host) ^ before) == []
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
