"""Crashes of any component at any moment lose no task instance, and no two runs work at the same time.

A random sample runs each time: CHAOS_SEED, which the output shows, selects the same one again. `make chaos` runs the
whole matrix, CHAOS=part:moment+moment one round of it.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import HostSpec, Lab
from .chaos import invariants
from .chaos.ground import Ground
from .chaos.holds import Holds
from .chaos.matrix import Round, Subject, kill, rounds, seed, settle

_FIRST_HOST_ID = 5000
_host_ids = iter(range(_FIRST_HOST_ID, 10**6))


@pytest.fixture(scope="module")
def holds(lab: Lab) -> Iterator[Holds]:
    """Ways to hold runs of this lab's hosts."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        yield Holds(Path(directory), lab.inventory)


@pytest.fixture(scope="module")
def ground(lab: Lab, holds: Holds) -> Iterator[Ground]:
    """Yield the service in parts."""
    with Ground(lab.directory / "chaos", holds.inventory) as started:
        yield started


@pytest.mark.parametrize("case", rounds(), ids=str)
def test_nothing_is_lost(
    case: Round, lab: Lab, ground: Ground, holds: Holds, record_property: Callable[[str, object], None]
) -> None:
    print(f"CHAOS_SEED={seed()}")
    numbers = [next(_host_ids) for _ in case.moments]
    hosts = lab.start_many([HostSpec(f"chaos-{number}", number) for number in numbers])
    workers = {worker.pid for worker in ground.workers}
    with ExitStack() as stack:
        for host in hosts:
            stack.callback(host.remove)
        client = stack.enter_context(ground.client())
        subjects = [
            Subject(host=host, moment=moment, ground=ground, holds=holds, client=client)
            for host, moment in zip(hosts, case.moments, strict=True)
        ]
        for subject in subjects:
            subject.submit()
        for subject in sorted(subjects, key=lambda subject: subject.moment == "cancel"):  # it does not stay so
            subject.arrive()

        killed = time.monotonic()
        kill(case.part, ground, subjects)

        for subject in subjects:
            subject.let_go()
        for subject in subjects:
            subject.wait_for_end()
        ended = time.monotonic() - killed
        settle(subjects)
        print(f"{case}: all had ended after {ended:.1f} s, were done after {time.monotonic() - killed:.1f} s")
        record_property("ended", ended)
        workers |= {worker.pid for worker in ground.workers}
        invariants.check(ground.postgres.url, [subject.task_id for subject in subjects], workers)
        for subject in subjects:
            assert subject.host.proxy_pid(), "the OBProxy does not run any more"
