"""Faults at random: a schedule made from a seed, and the ways in which each part of a system can fail for a while."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import psutil

from ..errors import LabError
from ..host import LabHost
from . import processes
from .clocks import HostClock, PartClock
from .disks import Disk, HostDisk
from .ground import Part
from .machine import Machine
from .postgres import Postgres

MEAN_INTERVAL = 2.5  # seconds between the beginnings of two faults
SHORT, LONG = (0.3, 8.0), (32.0, 45.0)  # seconds that a fault lasts; LONG is longer than a lease
STEPS = (-86400, -600, -5, 5, 600, 86400)  # seconds by which a clock is stepped

Heal = Callable[[], object]
Strike = Callable[[random.Random], Heal | None]
"""Begins a fault and returns what ends it; None when there is nothing to strike now."""


@dataclass(frozen=True)
class Fault:
    """A fault of `target`, `begin` seconds after the start, that lasts `seconds`; `seed` is for the choices in it."""

    begin: float
    seconds: float
    target: str
    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.begin:6.1f} s: {self.kind} {self.target} for {self.seconds:.1f} s"


def schedule(seed: int, seconds: float, strikes: Mapping[str, Mapping[str, Strike]]) -> list[Fault]:
    """Return the faults of `seconds`, each of a target that has no other at that time.

    `strikes` has the kinds of faults of each target. A fault in eight is long, if `seconds` has room for it.
    """
    chance = random.Random(seed)
    faults: list[Fault] = []
    begin = chance.expovariate(1 / MEAN_INTERVAL)
    while begin < seconds:
        busy = {fault.target for fault in faults if begin < fault.begin + fault.seconds}
        target = chance.choice(sorted(strikes))
        kind = chance.choice(sorted(strikes[target]))
        lasts = chance.uniform(*(LONG if chance.random() < 1 / 8 and seconds > LONG[1] else SHORT))
        if target not in busy:
            faults.append(Fault(begin, lasts, target, kind, chance.randrange(2**32)))
        begin += chance.expovariate(1 / MEAN_INTERVAL)
    return faults


def inject(
    faults: list[Fault], strikes: Mapping[str, Mapping[str, Strike]], supervise: Callable[[], object]
) -> Iterator[Fault]:
    """Let the faults happen at their times; yield each that has begun. All are over at the end.

    `supervise` is called every 50 ms meanwhile.
    """
    started = time.monotonic()
    left, active = list(faults), dict[str, tuple[float, Heal]]()
    try:
        while left or active:
            now = time.monotonic() - started
            for target in [target for target, (end, _) in active.items() if end <= now]:
                active.pop(target)[1]()
            while left and left[0].begin <= now:
                fault = left.pop(0)
                # On a busy machine faults begin late; then the target may still have the one before.
                heal = None if fault.target in active else strikes[fault.target][fault.kind](random.Random(fault.seed))
                if heal is not None:
                    active[fault.target] = (now + fault.seconds, heal)
                    yield fault
            supervise()
            time.sleep(0.05)
    finally:
        for _, heal in active.values():
            heal()


def of_part(part: Part | Postgres, clock: PartClock) -> dict[str, Strike]:
    """Return the faults of a process of the service, or of PostgreSQL. A supervisor starts it again."""
    return {
        "kill": lambda _: _kill(part),
        "stop": lambda chance: _stop(psutil.Process(part.pid), chance) if part.alive else None,
        "step the clock of": partial(_step, clock),
    }


def of_worker(part: Part, clock: PartClock, machine: Machine, disk: Disk) -> dict[str, Strike]:
    """Return the faults of a worker on a machine of its own, whose runs have their files on `disk`."""
    return {
        **of_part(part, clock),
        "cut off": lambda _: _call(machine.pull_out, machine.plug_in),
        "fill the disk of": lambda _: _call(disk.fill, disk.clear),
    }


def of_postgres(postgres: Postgres, clock: PartClock, disk: Disk) -> dict[str, Strike]:
    """Return the faults of PostgreSQL, whose data is on `disk`."""
    return {**of_part(postgres, clock), "fill the disk of": lambda _: _call(disk.fill, disk.clear)}


def of_host(host: LabHost, clock: HostClock, disk: HostDisk) -> dict[str, Strike]:
    """Return the faults of a host, which has the records of takeovers on `disk`."""
    return {
        "freeze": lambda _: _freeze(host),
        # The processes for one connection, not the one that listens, and not the shell that searches.
        "close the connections of": lambda _: _call(
            lambda: host.run("pkill -9 -f 'ssh[d].*: ops' || true"), lambda: None
        ),
        "step the clock of": partial(_step, clock),
        "fill the disk of": lambda _: _call(disk.fill, disk.clear),
    }


def of_runs(idents: Callable[[], list[str]]) -> dict[str, Strike]:
    """Return the faults of one of the runs that `idents` returns."""

    def found(find: Callable[[str], psutil.Process], chance: random.Random) -> psutil.Process | None:
        running = idents()
        if running:
            with suppress(psutil.NoSuchProcess):
                return find(chance.choice(running))
        return None

    def kill(find: Callable[[str], psutil.Process], chance: random.Random) -> Heal | None:
        process = found(find, chance)
        if process is None:
            return None
        with suppress(psutil.NoSuchProcess):
            process.kill()
        return lambda: None

    def stop(chance: random.Random) -> Heal | None:
        process = found(processes.playbook, chance)
        return None if process is None else _stop(process, chance)

    return {
        "kill the playbook of": partial(kill, processes.playbook),
        "kill the child of": partial(kill, processes.child),
        "kill the fork server of": partial(kill, processes.forkserver),
        "stop the playbook of": stop,
    }


def _call(begin: Callable[[], object], end: Heal) -> Heal:
    begin()
    return end


def _freeze(host: LabHost) -> Heal | None:
    try:
        host.pause()
    except LabError:  # the runtime gives up when processes begin faster than it freezes them
        return None
    return host.resume


def _kill(part: Part | Postgres) -> Heal | None:
    if not part.alive:
        return None
    part.kill()
    return lambda: None


def _stop(process: psutil.Process, chance: random.Random) -> Heal:
    """Stop a process, alone or with all of its children; the result lets those that still live go on."""
    stopped = [process, *(process.children(recursive=True) if chance.random() < 1 / 2 else ())]
    for each in stopped:
        with suppress(psutil.NoSuchProcess):
            each.suspend()

    def go_on() -> None:
        for each in stopped:
            with suppress(psutil.NoSuchProcess):
                each.resume()

    return go_on


def _step(clock: PartClock | HostClock, chance: random.Random) -> Heal:
    clock.step(chance.choice(STEPS))
    return partial(clock.step, 0)
