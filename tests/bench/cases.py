"""The benchmark cases; each yields results for the table of goals, and prints its progress."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from service.worker import concurrency
from tests.lab import LabHost

from . import accounting, contenders
from .ground import Ground, check_unchanged, prepared
from .harness import Cost, Plan, rounds
from .results import Goal, Result, compare

_FLAT = 1.1  # CPU per host may grow by a tenth
_MEGABYTE = 1e6
_THROUGHPUT = Goal(at_most=2.5)  # 0.4 as many hosts per CPU second


def takeover(directory: Path, plan: Plan) -> list[Result]:
    """One host by the service, by the bare playbook, by generic modules, by an asyncssh script."""
    with prepared(directory, 1) as ground:
        ways = {
            "service": contenders.service(ground),
            "bare playbook": contenders.bare_playbook(ground.lab, ground.secrets),
            "generic modules": contenders.generic_playbook(ground.lab, ground.secrets),
            "asyncssh script": contenders.asyncssh_script(ground.lab),
        }
        entries = {name: (way, ground.hosts) for name, way in ways.items()}
        costs = rounds(ground, entries, plan)
    pairs: list[tuple[str, str, Goal | None]] = [
        ("service", "bare playbook", Goal(at_most=1.05)),
        ("service", "generic modules", Goal(at_most=0.15)),
        ("service", "asyncssh script", Goal(at_most=1.5)),
        ("bare playbook", "generic modules", None),
    ]
    return [result for ours, theirs, goal in pairs for result in _pair(ours, theirs, costs, goal)]


def precheck(directory: Path, plan: Plan) -> list[Result]:
    """Measure a check against the takeover after it, on one host."""
    with prepared(directory, 1) as ground:
        entries = {
            "precheck": (contenders.precheck(ground), ground.hosts),
            "takeover": (contenders.service(ground), ground.hosts),
        }
        costs = rounds(ground, entries, plan, {"precheck": check_unchanged})
    return _pair("precheck", "takeover", costs, None)


def scale(directory: Path, plan: Plan) -> list[Result]:
    """Several hosts in one request, per host: against the first number, and against the script with all at once."""
    with prepared(directory, max(plan.hosts)) as ground:
        ways = {"service": contenders.service(ground), "asyncssh script": contenders.asyncssh_script(ground.lab)}
        entries = {
            f"{name}, {count} hosts": (way, ground.hosts[:count]) for count in plan.hosts for name, way in ways.items()
        }
        costs = rounds(ground, entries, plan)
        memory = _memory(ground, ground.hosts, plan)
    first = plan.hosts[0]
    one = costs[f"service, {first} hosts"]
    results = []
    for count in plan.hosts[1:]:
        ours, script = costs[f"service, {count} hosts"], costs[f"asyncssh script, {count} hosts"]
        growth = f"{count} hosts in one request / {first}"
        name = f"service / asyncssh script, {count} hosts in one request"
        results += [
            compare(f"{growth}: wall per host", "s", _per_host(ours, "wall"), _per_host(one, "wall")),
            compare(f"{growth}: CPU per host", "s", _per_host(ours, "cpu"), _per_host(one, "cpu"), Goal(at_most=_FLAT)),
            compare(f"{name}: wall per host", "s", _per_host(ours, "wall"), _per_host(script, "wall")),
            compare(f"{name}: CPU per host", "s", _per_host(ours, "cpu"), _per_host(script, "cpu"), _THROUGHPUT),
        ]
    return [*results, *memory]


def _memory(ground: Ground, hosts: Sequence[LabHost], plan: Plan) -> list[Result]:
    """Return the largest memory of one run among many, and alone: with its part of shared pages, and without them."""
    way, at_once = contenders.service(ground), concurrency.of_this_machine()
    peaks: list[tuple[float, float]] = []
    for asked in (hosts, hosts[:1]):
        ground.reset(asked)
        before = accounting.running_descendants()
        with accounting.peak_memory(before) as peak:
            way(asked)
        accounting.settle(before)
        runs = min(len(asked), at_once) * _MEGABYTE
        peaks.append((peak.split / runs, peak.unshared / runs))
        plan.say(f"memory, {len(asked)} hosts  {peak.split / runs:.0f} MB each, {peak.unshared / runs:.0f} unshared")
    (split, unshared), (split_alone, unshared_alone) = peaks
    which = f"{len(hosts)} hosts in one request / 1 host"
    return [
        compare(f"memory of a run: {which}", "MB", [split], [split_alone], Goal(at_most=80, of="ours")),
        compare(f"memory of a run, unshared: {which}", "MB", [unshared], [unshared_alone]),
    ]


def _pair(ours: str, theirs: str, costs: dict[str, list[Cost]], goal: Goal | None) -> list[Result]:
    """Wall, with the goal, and CPU here and there."""
    left, right = costs[ours], costs[theirs]
    name = f"{ours} / {theirs}"
    results = [compare(f"{name}: wall", "s", _per_host(left, "wall"), _per_host(right, "wall"), goal)]
    results.append(compare(f"{name}: CPU", "s", _per_host(left, "cpu"), _per_host(right, "cpu")))
    on_host = _per_host(left, "host_cpu"), _per_host(right, "host_cpu")
    if median(on_host[1]):
        results.append(compare(f"{name}: CPU on the host", "s", *on_host))
    return results


def _per_host(costs: Sequence[Cost], field: str) -> list[float]:
    return [getattr(cost, field) / cost.hosts for cost in costs]
