"""The cost of a run for one host of a large inventory, compared with the same run on a small one."""

import asyncio
import time
from pathlib import Path
from typing import Any

from service.inventory import reader
from service.inventory.reader import Inventory
from service.runs import run
from service.runs.spec import RunInputs, RunSpec
from tests.integration.inventories import write

from .harness import Plan
from .results import Goal, Result, compare

SIZES = (10, 1000, 5000)  # hosts
GROUPS = 20  # beside the OBProxy cluster
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: here}
      tags: [probe]
"""
_AT_MOST = 1.5  # a fork copies the page tables of a larger process


def inventory(directory: Path, plan: Plan) -> list[Result]:
    """Wall time of one run, and of one reading for each host, by the number of hosts."""
    playbook = directory / "playbook.yml"
    playbook.write_text(PLAYBOOK, encoding="utf-8")
    runs, readings = asyncio.run(_measure(directory, playbook, plan))
    first = SIZES[0]
    return [
        *(
            compare(
                f"run, {size} hosts in the inventory / {first}", "s", runs[size], runs[first], Goal(at_most=_AT_MOST)
            )
            for size in SIZES[1:]
        ),
        *(
            compare(f"reading, {size} hosts / {SIZES[1]}, per host", "ms", readings[size], readings[SIZES[1]])
            for size in SIZES[2:]
        ),
    ]


Series = dict[int, list[float]]


async def _measure(directory: Path, playbook: Path, plan: Plan) -> tuple[Series, Series]:
    runs: Series = {size: [] for size in SIZES}
    readings: Series = {size: [] for size in SIZES}
    sources = {size: _written(directory / f"{size}.yml", size) for size in SIZES}
    await reader.read(sources[SIZES[0]])  # the server is started
    for number in range(plan.repetitions):
        for size, source in sources.items():
            begun = time.monotonic()
            found = await reader.read(source)
            readings[size].append((time.monotonic() - begun) / size * 1000)
            await _run(found, playbook)  # the first fork copies what the collector has touched
            runs[size].append(await _run(found, playbook))
        plan.say(f"{number + 1}/{plan.repetitions}")
    return runs, readings


async def _run(found: Inventory, playbook: Path) -> float:
    inputs = RunInputs(host=found.hosts[1], cluster=found.clusters[1], sql_port=2883)
    begun = time.monotonic()
    started = run.start(RunSpec(ident="bench", playbook=playbook, roles=("probe",), inputs=inputs), found.snapshot)
    async for _, end in started.batches():
        assert end is None or end.rc == 0, end
    return time.monotonic() - begun


def _written(path: Path, size: int) -> Path:
    names = [f"odp-{number}" for number in range(1, size + 1)]
    hosts = {
        name: {"ocp_host_id": number, "ansible_host": f"{{{{ net }}}}.{number}"} for number, name in enumerate(names, 1)
    }
    groups: dict[str, Any] = {
        f"g{number}": {"hosts": {name: {} for name in names[number::GROUPS]}} for number in range(GROUPS)
    }
    cluster = {"vars": {"obproxy_cluster_id": 1}, "hosts": {name: {} for name in names}}
    write(path, {"all": {"vars": {"net": "10.0"}, "hosts": hosts, "children": {"test": cluster, **groups}}})
    return path
