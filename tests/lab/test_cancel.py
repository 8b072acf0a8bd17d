"""Cancel on a real host: its duration, and its report of processes that may still run there."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.cli.client import Client
from service.cli.transport import Document
from tests.waiting import until

from . import Lab
from .chaos import processes
from .chaos.ground import Ground
from .chaos.holds import Holds
from .chaos.matrix import Subject
from .fixtures import StartHost

CANCELS = int(os.environ.get("CANCELS", "3"))
BOUND = 15.0  # seconds, on any
HELD_AT = "prepare_create_obproxy"  # it runs a program on the host


@pytest.fixture(scope="module")
def holds(lab: Lab) -> Iterator[Holds]:
    with tempfile.TemporaryDirectory(prefix="cancel-") as directory:
        yield Holds(Path(directory), lab.inventory)


@pytest.fixture(scope="module")
def ground(lab: Lab, holds: Holds) -> Iterator[Ground]:
    with Ground(lab.directory / "cancel", holds.inventory) as started:
        yield started


@pytest.fixture
def client(ground: Ground) -> Iterator[Client]:
    with ground.client() as opened:
        yield opened


def cancel(client: Client, subject: Subject) -> tuple[float, Document]:
    """Seconds from the request to its end, and the final document."""
    (running,) = (s["id"] for s in client.task(subject.task_id)["subtasks"] if s["status"] == "RUNNING")
    begun = time.monotonic()
    client.control("cancel", subject.task_id, running)
    while (document := client.task(subject.task_id))["status"] == "RUNNING":
        time.sleep(0.01)
    return time.monotonic() - begun, document


def failed_log(client: Client, document: Document) -> str:
    (failed,) = (s["id"] for s in document["subtasks"] if (s["status"], s["operation"]) == ("FAILED", "CANCEL"))
    return client.log(document["id"], failed)


def test_cancel_is_quick_and_leaves_nothing(
    ground: Ground, holds: Holds, client: Client, lab_host: StartHost, record_property: Callable[[str, object], None]
) -> None:
    host = lab_host()
    subject = Subject(host=host, moment=HELD_AT, ground=ground, holds=holds, client=client)
    subject.submit()
    took = []
    for _ in range(CANCELS):
        subject.arrive()
        ident = subject.ident()
        seconds, document = cancel(client, subject)
        took.append(seconds)
        log = failed_log(client, document)
        assert "Nothing that this run started is left on the host." in log, log
        assert not list(processes.alive(processes.of_run(ident)))
        subject.retry()
    subject.let_go()
    subject.check_end(subject.wait_for_end())

    print("seconds from the request to FAILED:", *(f"{seconds:.2f}" for seconds in sorted(took)))
    record_property("cancel_median", statistics.median(took))
    assert statistics.median(took) < BOUND


def test_processes_left_on_the_host_are_named(
    ground: Ground, holds: Holds, client: Client, lab_host: StartHost
) -> None:
    subject = Subject(host=lab_host(), moment=HELD_AT, ground=ground, holds=holds, client=client)
    subject.submit()
    subject.arrive()
    holds.in_program(subject.host)
    holds.release_role(subject.host, HELD_AT)
    wait_for_program(subject)

    _, document = cancel(client, subject)

    log = failed_log(client, document)
    assert "Still running on the host, started by this run and not ended with it:\n  pid " in log, log
    assert "held-python3" in log


def test_a_host_that_does_not_answer_holds_no_cancel_up(
    ground: Ground, holds: Holds, client: Client, lab_host: StartHost
) -> None:
    subject = Subject(host=lab_host(), moment=HELD_AT, ground=ground, holds=holds, client=client)
    subject.submit()
    subject.arrive()
    subject.host.pause()
    try:
        seconds, document = cancel(client, subject)
    finally:
        subject.host.resume()

    assert seconds < BOUND, seconds
    assert "The host could not be checked for processes that this run has left: no result within 5 s." in failed_log(
        client, document
    )


def wait_for_program(subject: Subject) -> None:
    until(lambda: subject.host.run("pgrep -f held-pytho[n]3 || true").strip(), "the program does not run on the host")
