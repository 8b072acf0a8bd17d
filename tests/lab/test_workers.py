"""Several workers on machines of their own, with one external PostgreSQL: they share the work, and stand in."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.cli.client import Client
from service.cli.transport import Document

from . import HostSpec, Lab, LabHost
from .chaos import invariants, processes
from .chaos.ground import Ground, Part
from .chaos.holds import Holds
from .chaos.machine import Machine
from .chaos.matrix import Subject, settle
from .chaos.postgres import Postgres

WORKERS = 4
TAKEN_OVER = 45.0  # seconds until task instances of a killed worker must have ended
HELD_AT = "install_rpm"

_numbers = iter(range(7000, 10**6))


@pytest.fixture(scope="module")
def anchor(lab: Lab) -> Iterator[LabHost]:
    """As long as it runs, the lab's network is there."""
    number = next(_numbers)
    (host,) = lab.start_many([HostSpec(f"anchor-{number}", number)])
    yield host
    host.remove()


@pytest.fixture(scope="module")
def machines(lab: Lab, anchor: LabHost) -> Iterator[list[Machine]]:
    """One for each worker."""
    with ExitStack() as stack:
        yield [stack.enter_context(Machine(lab, number)) for number in range(WORKERS)]


@pytest.fixture(scope="module")
def holds(lab: Lab) -> Iterator[Holds]:
    with tempfile.TemporaryDirectory(prefix="workers-") as directory:
        yield Holds(Path(directory), lab.inventory)


@pytest.fixture(scope="module")
def shared_ground(machines: list[Machine], holds: Holds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Yield a worker for one task instance at a time on every machine, and the API process on this one."""
    directory = tmp_path_factory.mktemp("ground")
    postgres = Postgres(machines[0].gateway, machines[0].subnet)
    prefixes = [machine.prefix for machine in machines]
    with Ground(
        directory, holds.inventory, postgres=postgres, prefixes=prefixes, worker_concurrency="1", shutdown_grace="3"
    ) as started:
        yield started


@pytest.fixture
def ground(shared_ground: Ground) -> Ground:
    """Return it with all of its workers."""
    for worker in shared_ground.workers:
        if not worker.alive:
            worker.start()
    return shared_ground


@pytest.fixture
def client(ground: Ground) -> Iterator[Client]:
    with ground.client() as opened:
        yield opened


@pytest.fixture
def subjects(
    lab: Lab, ground: Ground, machines: list[Machine], holds: Holds, client: Client
) -> Iterator[list[Subject]]:
    """Submit a task instance for each worker; all are held in the middle."""
    numbers = [next(_numbers) for _ in range(WORKERS)]
    hosts = lab.start_many([HostSpec(f"shared-{number}", number) for number in numbers])
    for machine in machines:
        machine.forget_neighbours()
    subjects = [Subject(host=host, moment=HELD_AT, ground=ground, holds=holds, client=client) for host in hosts]
    for subject in subjects:
        subject.submit()
    for subject in subjects:
        subject.arrive()
    yield subjects
    for host in hosts:
        host.remove()


def executors(subjects: Sequence[Subject]) -> list[str]:
    """Return the address of the worker at which each is."""
    found = []
    for subject in subjects:
        document = subject.client.task(subject.task_id)
        found += [s["executor"] for s in document["subtasks"] if s["status"] == "RUNNING"]
    return found


def at(machine: Machine, machines: Sequence[Machine], ground: Ground) -> Part:
    return ground.workers[machines.index(machine)]


def running_subtask(document: Document) -> int:
    (running,) = (s["id"] for s in document["subtasks"] if s["status"] == "RUNNING")
    return int(running)


def test_workers_share_the_work_and_each_gets_a_cancellation(
    ground: Ground, machines: list[Machine], subjects: list[Subject], client: Client
) -> None:
    assert sorted(executors(subjects)) == sorted(machine.address for machine in machines)

    for subject in subjects[:2]:
        client.control("cancel", subject.task_id, running_subtask(client.task(subject.task_id)))
    for subject in subjects[2:]:
        subject.let_go()
    ends = [subject.wait_for_end() for subject in subjects]

    assert [document["status"] for document in ends] == ["FAILED", "FAILED", "SUCCESSFUL", "SUCCESSFUL"]
    assert [subject.reason(document) for subject, document in zip(subjects[:2], ends[:2], strict=True)] == [
        "CANCELED",
        "CANCELED",
    ]
    for subject in subjects[:2]:
        subject.let_go()
        subject.retry()
    settle(subjects[:2])
    invariants.check(ground.postgres.url, [subject.task_id for subject in subjects], {w.pid for w in ground.workers})


def test_one_worker_takes_over_from_a_killed_a_partitioned_and_a_frozen_one(
    ground: Ground, machines: list[Machine], subjects: list[Subject], record_property: Callable[[str, object], None]
) -> None:
    by_address = dict(zip(executors(subjects), subjects, strict=True))
    killed, cut_off, frozen, survivor = machines
    lost = [by_address[machine.address] for machine in (killed, cut_off, frozen)]
    idents = {subject.task_id: subject.ident() for subject in subjects}
    pids = {worker.pid for worker in ground.workers}

    begun = time.monotonic()
    at(killed, machines, ground).kill()
    cut_off.pull_out()
    os.kill(at(frozen, machines, ground).pid, signal.SIGSTOP)
    try:
        by_address[survivor.address].let_go()
        assert by_address[survivor.address].wait_for_end()["status"] == "SUCCESSFUL"
        ends = [subject.wait_for_end() for subject in lost]
        took = time.monotonic() - begun
        left = [p for s in lost for p in processes.alive(processes.of_run(idents[s.task_id]))]
    finally:
        os.kill(at(frozen, machines, ground).pid, signal.SIGCONT)
        cut_off.plug_in()

    record_property("taken_over_after", took)
    assert took < TAKEN_OVER
    assert not left, "a run with an expired lease is still running"
    assert [subject.reason(document) for subject, document in zip(lost, ends, strict=True)] == ["INTERRUPTED"] * 3
    at(killed, machines, ground).start()
    for subject in lost:
        subject.let_go()
        subject.retry()
    settle(lost)
    invariants.check(ground.postgres.url, [s.task_id for s in subjects], pids | {w.pid for w in ground.workers})


def test_a_stopping_worker_finishes_or_requeues(
    ground: Ground, machines: list[Machine], subjects: list[Subject]
) -> None:
    by_address = dict(zip(executors(subjects), subjects, strict=True))
    finishing, handing_back = (by_address[machine.address] for machine in machines[:2])
    for machine in machines[:2]:
        os.kill(at(machine, machines, ground).pid, signal.SIGTERM)
    finishing.let_go()

    assert [at(machine, machines, ground).wait() for machine in machines[:2]] == [0, 0]
    assert finishing.wait_for_end()["status"] == "SUCCESSFUL"
    for subject in subjects:
        subject.let_go()
    ends = [subject.wait_for_end() for subject in subjects]

    assert [document["status"] for document in ends] == ["SUCCESSFUL"] * WORKERS, "nobody had to ask"
    last = max(ends[subjects.index(handing_back)]["subtasks"], key=lambda subtask: subtask["id"])
    assert last["executor"] in [machine.address for machine in machines[2:]]
    assert "The worker is stopping" in handing_back.logs(ends[subjects.index(handing_back)])
    invariants.check(ground.postgres.url, [subject.task_id for subject in subjects], {w.pid for w in ground.workers})
