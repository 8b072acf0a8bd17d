"""Memory under an hour of load: `python -m tests.bench.soak [MINUTES]`, default 60.

API and worker as processes of their own, PostgreSQL, one lab host that is taken over repeatedly, three hundred
that there are not (`soak_load`). Prints what they hold once a minute, and at the end quarter against quarter. It
fails when temporary files (the machine's, so nothing else may make some), open descriptors or processes grow.
docs/scale.md has a result.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil
import psycopg

from service.model.settings import PROJECT
from tests.lab import Lab
from tests.lab.leftovers import SessionDirectory

from . import accounting, held
from .ground import Ground, prepared
from .soak_load import Load, write_stand_ins

MINUTES = 60
_EVERY = 60.0  # seconds between two samples
_WARM_UP = 60.0  # seconds of load before the first
_STOP_DEADLINE = 60.0  # seconds until the worker must have stopped
_SETTINGS = {"retention_days_tasks": "1", "retention_days_audit": "1", "server_look_interval": "0"}
_MB = 2**20

_COUNT = """
SELECT pg_database_size(current_database()), count(*), count(*) FILTER (WHERE status = 'FAILED') FROM task_instance
"""

Sample = Mapping[str, float]


def main(minutes: float) -> int:
    """Return 1 when any of the work went wrong or a count grows: numbers of something else than work say nothing."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    accounting.begin()
    Lab.prepare()
    with (
        SessionDirectory(PROJECT / ".lab", prefix=f"test-soak-{os.getpid()}-") as directory,
        prepared(directory, 1, {**_SETTINGS, "worker": "false"}) as ground,
    ):
        write_stand_ins(ground.lab.inventory)
        with _worker(directory, ground) as worker:
            load = Load(ground)
            with load.running():
                time.sleep(_WARM_UP)
                samples = list(_samples(ground, worker, minutes))
    _print_quarters(samples)
    print("done:", ", ".join(f"{count} {what}" for what, count in sorted(load.done.items())))
    for failure in load.failed[:20]:
        print("FAILED", failure)
    growth = held.growing(samples, list(held.count()))
    for sentence in growth:
        print("GROWTH", sentence)
    return 1 if load.failed or growth else 0


@contextmanager
def _worker(directory: Path, ground: Ground) -> Iterator[subprocess.Popen[bytes]]:
    values = {
        **_SETTINGS,
        "inventory": str(ground.lab.inventory),
        "data_dir": str(ground.service.data_dir),
        "database_url": ground.database_url,
    }
    environment = {**os.environ, **{f"TAKEOVER_{name.upper()}": value for name, value in values.items()}}
    command = [sys.executable, "-m", "tests.bench.soak_worker", "worker"]
    with (directory / "worker.log").open("a") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_STOP_DEADLINE)


def _samples(ground: Ground, worker: subprocess.Popen[bytes], minutes: float) -> Iterator[Sample]:
    begun = time.monotonic()
    for number in range(int(minutes * 60 / _EVERY) + 1):
        time.sleep(max(0.0, begun + number * _EVERY - time.monotonic()))
        sample = _sample(ground, worker)
        told = "; ".join(f"{name} {value:.1f}" for name, value in sample.items())
        print(f"{number * _EVERY / 60:.0f} min: {told}", flush=True)
        yield sample


def _sample(ground: Ground, worker: subprocess.Popen[bytes]) -> Sample:
    """Return what each part holds: memory (PostgreSQL's with shared pages split among its processes), files, rows."""
    api, work = psutil.Process(ground.service.process.pid), psutil.Process(worker.pid)
    servers = [child for child in work.children() if "forkserver" in " ".join(child.cmdline())]
    postgres = accounting.named("postgres")
    with psycopg.connect(ground.database_url) as connection:
        ((size, tasks, failed),) = connection.execute(_COUNT).fetchall()
    return {
        "API, MB": api.memory_info().rss / _MB,
        "worker, MB": work.memory_info().rss / _MB,
        "fork server, MB": sum(server.memory_info().rss for server in servers) / _MB,
        "PostgreSQL, MB": sum(accounting.memory(pid) for pid in postgres) / _MB,
        "of it not shared, MB": sum(accounting.memory(pid, "Pss_Anon") for pid in postgres) / _MB,
        "its processes": len(postgres),
        "database, MB": size / _MB,
        "task instances": tasks,
        "of them FAILED": failed,
        "files of API": api.num_fds(),
        "files of worker": work.num_fds(),
        **held.count(),
    }


def _print_quarters(samples: list[Sample]) -> None:
    """Medians: a process that forgets nothing shows as a row that grows."""
    size = max(len(samples) // 4, 1)
    quarters = [samples[number * size : (number + 1) * size] for number in range(min(4, len(samples)))]
    for name in samples[0]:
        values = [f"{median(sample[name] for sample in quarter):10.1f}" for quarter in quarters]
        print(f"{name:<24}", *values, f"{max(sample[name] for sample in samples):10.1f} at the most")


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
