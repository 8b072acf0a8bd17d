"""Faults at random over all workflows: nothing that was accepted is lost, and no client of an OBProxy is disconnected.

A short sample runs each time: CHAOS_SEED, which the output shows, selects the same faults again.
`make chaos RANDOM=10` lets them happen for ten minutes.
"""

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from service.runs.directories import TMPFS

from . import HostSpec, Lab, LabHost
from .chaos import faults, invariants
from .chaos.clocks import INTERPRETER, Clocks, HostClock
from .chaos.disks import Disk, HostDisk
from .chaos.ground import Ground, Part
from .chaos.machine import Machine
from .chaos.matrix import seed
from .chaos.postgres import Postgres
from .chaos.supervisor import Supervisor
from .chaos.workload import Workload
from .traffic import held

SAMPLE = 20.0  # seconds of the sample
HOSTS, WORKERS = 4, 2
CONNECTIONS = 3  # held through each OBProxy that is not restarted
SLOW = 3 * faults.LONG[1]  # seconds for an answer: a host may be frozen
FILLED = "/var/lib"  # of a host: the records of takeovers, and the package database
HOST_DISK, WORKER_DISK, DATABASE_DISK = 300, 64, 600  # MiB
_FIRST_HOST_ID = 6000
_INVENTORY = f"all:\n  vars:\n    ansible_python_interpreter: {INTERPRETER}\n"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A service in parts and its hosts, with the faults that each target can have."""

    ground: Ground
    hosts: list[LabHost]
    disks: list[Disk]
    strikes: dict[str, dict[str, faults.Strike]]


@pytest.fixture
def hosts(lab: Lab) -> Iterator[list[LabHost]]:
    started = lab.start_many([HostSpec(f"random-{n}", _FIRST_HOST_ID + n) for n in range(HOSTS)])
    yield started
    for host in started:
        host.remove()


@pytest.fixture
def site(lab: Lab, hosts: list[LabHost], tmp_path: Path) -> Iterator[Site]:
    """Yield two workers on machines of their own, an API process, PostgreSQL, and hosts with OBProxies.

    The logs are in `tmp_path`, which pytest keeps after a failure.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="random-chaos-")))
        directory.chmod(0o755)  # PostgreSQL's user passes through
        clocks = Clocks(directory / "clocks")
        machines = [stack.enter_context(Machine(lab, number)) for number in range(WORKERS)]
        disks = [stack.enter_context(Disk(directory / f"runs-{number}", WORKER_DISK)) for number in range(WORKERS)]
        data = stack.enter_context(Disk(directory / "database", DATABASE_DISK))
        postgres = Postgres(machines[0].gateway, machines[0].subnet, parent=data.path)
        prefixes = [
            [*machine.prefix, "sh", "-c", f'mount --bind {disk.path} {TMPFS} && exec "$@"', "sh"]
            for machine, disk in zip(machines, disks, strict=True)
        ]
        ground = Ground(tmp_path / "service", _inventory(lab, directory), postgres=postgres, prefixes=prefixes)
        parts: dict[str, Part | Postgres] = {"api": ground.api, "postgres": postgres}
        parts |= {f"worker-{number}": worker for number, worker in enumerate(ground.workers)}
        of_parts = {name: clocks.of_part(name) for name in parts}
        for name, part in parts.items():
            part.environment.update(of_parts[name].environment)
        strikes = {
            "api": faults.of_part(ground.api, of_parts["api"]),
            "postgres": faults.of_postgres(postgres, of_parts["postgres"], data),
            "a run": faults.of_runs(lambda: _running(postgres.url)),
        }
        for number, (worker, machine, disk) in enumerate(zip(ground.workers, machines, disks, strict=True)):
            name = f"worker-{number}"
            strikes[name] = faults.of_worker(worker, of_parts[name], machine, disk)
        for host in hosts:
            strikes[host.name] = faults.of_host(host, HostClock(host), HostDisk(host, FILLED, HOST_DISK))
        stack.enter_context(ground)
        yield Site(ground=ground, hosts=hosts, disks=disks, strikes=strikes)


def _inventory(lab: Lab, directory: Path) -> Path:
    """Return the lab's inventory with the interpreter whose clock is stepped. The last file of a directory wins."""
    inventory = directory / "inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").symlink_to(lab.inventory / "hosts.yml")
    (inventory / "zz-clock.yml").write_text(_INVENTORY, encoding="utf-8")
    return inventory


def _running(url: str) -> list[str]:
    """Return the idents of the runs that the database knows as alive; none while it does not respond."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            rows = connection.execute("SELECT ident FROM run WHERE finish_time IS NULL ORDER BY ident").fetchall()
    except psycopg.OperationalError:
        return []
    return [str(ident) for (ident,) in rows]


def test_nothing_is_lost_at_random(site: Site, record_property: Callable[[str, object], None]) -> None:
    seconds = float(os.environ.get("CHAOS_MINUTES") or 0) * 60 or SAMPLE
    print(f"CHAOS_SEED={seed()}")
    faults_over, supervisor, struck = threading.Event(), Supervisor(site.ground), Counter[str]()
    with ExitStack() as stack, ThreadPoolExecutor(HOSTS) as threads:
        kept = site.hosts[: HOSTS // 2]
        traffic = [stack.enter_context(held(host, CONNECTIONS, SLOW)) for host in kept]
        workloads = [
            Workload(
                host=host, client=stack.enter_context(site.ground.client()), seed=seed() + number,
                faults_over=faults_over, restarts=host not in kept,
            )
            for number, host in enumerate(site.hosts)
        ]  # fmt: skip
        running = [threads.submit(workload.run) for workload in workloads]

        def supervise() -> None:
            supervisor.look()
            for future in running:
                if future.done():
                    future.result()

        try:
            planned = faults.schedule(seed(), seconds, site.strikes)
            for fault in faults.inject(planned, site.strikes, supervise):
                print(fault, flush=True)
                struck[fault.kind] += 1
        finally:
            faults_over.set()
        begun = time.monotonic()
        while not all(future.done() for future in running):
            supervise()
            time.sleep(0.1)
        supervise()
        print(f"All was done {time.monotonic() - begun:.1f} s after the last fault.")

    done = sum((workload.done for workload in workloads), Counter[str]())
    print(f"{struck.total()} faults: {dict(struck)}\n{done.total()} operations: {dict(done)}")
    record_property("faults", dict(struck))
    assert struck, "the schedule has no fault"
    invariants.check(
        site.ground.postgres.url, [task_id for each in workloads for task_id in each.task_ids], supervisor.worker_pids,
        [disk.path for disk in site.disks],
    )  # fmt: skip
    assert [problem for each in traffic for problem in each.problems] == []
    assert [host.name for host in site.hosts if not host.proxy_pid()] == []
