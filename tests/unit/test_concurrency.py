"""The number of simultaneous runs follows from processors and memory."""

import pytest

from service.observe import machine
from service.worker import concurrency
from service.worker.concurrency import MAXIMUM, RUN_MEMORY, RUNS_PER_CPU, SERVICE_MEMORY, of_machine

GIGABYTE = 2**30


@pytest.mark.parametrize(
    ("cpus", "memory", "runs"),
    [
        (2, 8 * GIGABYTE, 2 * RUNS_PER_CPU),
        (1, 8 * GIGABYTE, RUNS_PER_CPU),
        (1.5, 8 * GIGABYTE, int(1.5 * RUNS_PER_CPU)),
        (8, SERVICE_MEMORY + 5 * RUN_MEMORY, 5),
        (8, SERVICE_MEMORY + 6 * RUN_MEMORY - 1, 5),
        (0.1, 8 * GIGABYTE, 1),
        (8, GIGABYTE // 4, 1),
        (1000, 1000 * GIGABYTE, MAXIMUM),
    ],
)
def test_runs_of_a_machine(cpus: float, memory: int, runs: int) -> None:
    assert of_machine(cpus, memory) == runs


def test_limits_of_this_machine_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpus", lambda: 3.0)
    monkeypatch.setattr(machine, "memory", lambda: SERVICE_MEMORY + 7 * RUN_MEMORY)

    assert concurrency.of_this_machine() == 7
