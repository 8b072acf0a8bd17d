"""The time of one adoption by its parts: moments of the bare playbook, and of the service's document; no comparison."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from rich.table import Table

from service.cli.tables import in_dag_order
from tests.lab import LabHost

from . import contenders
from .contenders import Contender
from .ground import Ground, prepared
from .harness import Plan, measure

_PLUGINS = Path(__file__).parent / "callback_plugins"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Something began at this time (seconds of the clock on the wall); it lasts until the next moment."""

    at: float
    what: str


def profile(directory: Path, plan: Plan) -> list[Table]:
    """Medians, in milliseconds, of every phase of both."""
    bare: list[list[Moment]] = []
    served: list[list[Moment]] = []
    with prepared(directory, 1) as ground:
        for number in range(plan.repetitions + 1):
            bare.append(_of_playbook(ground, directory / "moments", plan.patience))
            served.append(_of_service(ground, plan.patience))
            plan.say(f"{number}/{plan.repetitions}")
    return [
        _table("The playbook, run by ansible-playbook", bare[1:]),
        _table("The service, by its document", served[1:]),
    ]


def _of_playbook(ground: Ground, file: Path, patience: float) -> list[Moment]:
    file.unlink(missing_ok=True)
    moments: list[Moment] = []

    def timed(hosts: Sequence[LabHost]) -> float:
        moments.append(Moment(at=time.time(), what="ansible-playbook starts"))
        wall = bare(hosts)
        moments.append(Moment(at=time.time(), what="end"))
        return wall

    bare: Contender = contenders.bare_playbook(ground.lab, ground.secrets)
    with _callback(file):
        measure(ground, timed, ground.hosts, patience)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    inner = [
        Moment(at=line["at"], what=" ".join(filter(None, (line["role"], line["task"] or line["what"]))))
        for line in lines
    ]
    return [moments[0], *inner, moments[1]]


@contextmanager
def _callback(file: Path) -> Iterator[None]:
    """ansible-playbook inherits this environment."""
    added = {
        "ANSIBLE_CALLBACK_PLUGINS": str(_PLUGINS),
        "ANSIBLE_CALLBACKS_ENABLED": "task_times",
        "TASK_TIMES": str(file),
    }
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _of_service(ground: Ground, patience: float) -> list[Moment]:
    moments: list[Moment] = []

    def timed(hosts: Sequence[LabHost]) -> float:
        sent, (document,) = contenders.serve(ground, hosts)
        moments.append(Moment(at=sent, what="submit, queue, directory, start of Ansible, discovery"))
        subtasks = in_dag_order(document["subtasks"])
        moments.extend(Moment(at=contenders.seconds(one["startTime"]), what=one["name"]) for one in subtasks)
        moments.append(Moment(at=contenders.seconds(document["finishTime"]), what="end"))
        return moments[-1].at - sent

    measure(ground, timed, ground.hosts, patience)
    return moments


def _table(title: str, runs: Sequence[Sequence[Moment]]) -> Table:
    lengths: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for moment, following in pairwise(run):
            lengths[moment.what].append(following.at - moment.at)
    drawn = Table("From here to the next", "ms", title=title)
    for what, seconds in lengths.items():
        drawn.add_row(what, f"{median(seconds) * 1000:.0f}")
    drawn.add_section()
    drawn.add_row("all", f"{median(run[-1].at - run[0].at for run in runs) * 1000:.0f}")
    return drawn
