"""A rollout goes on whatever part is killed when its first host is about to end.

One part runs, drawn by CHAOS_SEED, which the output names; CHAOS=all runs all of them.
"""

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.cli.client import Client
from service.cli.transport import Document

from . import HostSpec, Lab
from .chaos import invariants
from .chaos.ground import Ground
from .chaos.holds import Holds
from .chaos.matrix import PARTS, Subject, kill, seed

LAST_ROLE = "update_obproxy_status"  # "finish" needs nothing of the host and cannot be held
FIRST_HOST_ID = 5800


def parts() -> list[str]:
    """Return the parts to kill."""
    return list(PARTS) if os.environ.get("CHAOS") == "all" else [random.Random(seed()).choice(PARTS)]


@pytest.fixture(scope="module")
def holds(lab: Lab) -> Iterator[Holds]:
    with tempfile.TemporaryDirectory(prefix="rollout-chaos-") as directory:
        yield Holds(Path(directory), lab.inventory)


@pytest.fixture(scope="module")
def ground(lab: Lab, holds: Holds) -> Iterator[Ground]:
    """Yield the service in parts."""
    with Ground(lab.directory / "rollout-chaos", holds.inventory) as started:
        yield started


def state_of(client: Client, request_id: int) -> tuple[str, list[str]]:
    """Return the status of a request and the states of its hosts."""
    document = client.request(request_id)
    return document["status"], [host["state"] for host in document["hosts"]]


def ended(client: Client, request_id: int, subjects: list[Subject]) -> Document:
    """Return the request when no host of it runs any more."""
    subjects[0].wait_for_end()
    if state_of(client, request_id)[0] != "STOPPED":
        subjects[1].wait_for_end()
    return client.request(request_id)


@pytest.mark.parametrize("part", parts())
def test_the_next_host_starts(part: str, lab: Lab, ground: Ground, holds: Holds) -> None:
    print(f"CHAOS_SEED={seed()}")
    numbers = [FIRST_HOST_ID + 2 * PARTS.index(part) + index for index in range(2)]
    hosts = lab.start_many([HostSpec(f"rollout-{number}", number) for number in numbers])
    workers = {worker.pid for worker in ground.workers}
    with ExitStack() as stack:
        remove: list[Callable[[], None]] = [host.remove for host in hosts]
        for each in remove:
            stack.callback(each)
        client = stack.enter_context(ground.client())
        subjects = [
            Subject(host=host, moment=LAST_ROLE, ground=ground, holds=holds, client=client, role=LAST_ROLE)
            for host in hosts
        ]
        for host in hosts:
            holds.prepare(host)
        holds.at(hosts[0], LAST_ROLE)
        wanted = [{"hostId": host.host_id, "sqlPort": host.sql_port} for host in hosts]
        for subject, document in zip(subjects, client.take_over(1, wanted, rollout={"canary": 1}), strict=True):
            subject.task_id = document["id"]
        request_id = client.task(subjects[0].task_id)["requestId"]
        subjects[0].arrive()
        assert state_of(client, request_id) == ("RUNNING", ["RUNNING", "WAITING"])

        kill(part, ground, subjects[:1])
        holds.release(hosts[0])

        document = ended(client, request_id, subjects)
        if document["status"] == "STOPPED":
            assert subjects[0].reason(client.task(subjects[0].task_id)), "a failure without a reason"
            assert [host["state"] for host in document["hosts"]] == ["FAILED", "NOT_STARTED"]
            client.control_request("retry", request_id)
            document = ended(client, request_id, subjects)
        print(f"{part}: {document['duration']:.1f} s")
        assert [host["state"] for host in document["hosts"]] == ["SUCCESSFUL", "SUCCESSFUL"]
        workers |= {worker.pid for worker in ground.workers}
        invariants.check(ground.postgres.url, [subject.task_id for subject in subjects], workers)
