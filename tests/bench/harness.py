"""Runs contenders one after the other, round by round, on the same hosts, which are reset before each."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.lab import LabHost

from . import accounting
from .contenders import Contender
from .ground import Ground, check_taken_over

Say = Callable[[str], None]
Outcome = Callable[[Ground, Sequence[LabHost]], None]
"""Checks the state in which a contender leaves the hosts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of a measurement: repetitions, seconds to wait for a quiet machine before each, output of the progress.

    `hosts` are numbers of hosts in one request, for the case that compares them with the first.
    """

    repetitions: int
    patience: float
    say: Say
    hosts: Sequence[int] = (1,)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of one takeover of `hosts` hosts, in seconds: on the wall, CPU here, CPU on the hosts together."""

    hosts: int
    wall: float
    cpu: float
    host_cpu: float
    others: float  # share of the machine's CPU time that other processes used


def rounds(
    ground: Ground,
    entries: Mapping[str, tuple[Contender, Sequence[LabHost]]],
    plan: Plan,
    outcomes: Mapping[str, Outcome] | None = None,
) -> dict[str, list[Cost]]:
    """Return the costs of each entry, as often as planned: A B C, B C A, ... so that none always follows the same one.

    One round before them warms up what is cached anywhere, and is not counted. It leaves out the entries with more
    hosts than others. `outcomes` are those of the entries that take nothing over.
    """
    names = list(entries)
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    fewest = min(len(hosts) for _, hosts in entries.values())
    for number in range(plan.repetitions + 1):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            contender, hosts = entries[name]
            if not number and len(hosts) > fewest:
                continue
            outcome = (outcomes or {}).get(name, check_taken_over)
            cost = measure(ground, contender, hosts, plan.patience, outcome)
            done = f"{number}/{plan.repetitions}" if number else "warm-up"
            plan.say(f"{done}  {name}: {cost.wall:.2f} s, CPU {cost.cpu:.2f} s; others {cost.others:.0%}")
            if number:
                costs[name].append(cost)
    return costs


def measure(
    ground: Ground,
    contender: Contender,
    hosts: Sequence[LabHost],
    patience: float,
    outcome: Outcome = check_taken_over,
) -> Cost:
    """Reset the hosts, let them be taken over, see that they are."""
    ground.reset(hosts)
    accounting.wait_until_quiet(patience)
    before = accounting.running_descendants()
    on_hosts = _on_hosts(ground, hosts)
    begun, used, cpu = time.monotonic(), accounting.machine_seconds(), accounting.cpu_seconds()
    wall = contender(hosts)
    accounting.settle(before)
    cpu = accounting.cpu_seconds() - cpu
    elapsed, used = time.monotonic() - begun, accounting.machine_seconds() - used
    host_cpu = _on_hosts(ground, hosts) - on_hosts
    cost = Cost(
        hosts=len(hosts),
        wall=wall,
        cpu=cpu,
        host_cpu=host_cpu,
        others=max(0.0, used - cpu - host_cpu) / elapsed / (os.cpu_count() or 1),
    )
    outcome(ground, hosts)
    return cost


def _on_hosts(ground: Ground, hosts: Sequence[LabHost]) -> float:
    return sum(accounting.host_cpu_seconds(ground.first_pids[host.name]) for host in hosts)
