"""Chooses how many task instances a worker runs at the same time, from processors and memory.

docs/performance.md has the measurements behind the constants.
"""

from service.observe import machine

RUNS_PER_CPU = 4
"""A run mostly waits for its host. With more runs, each costs more CPU time, and all of them end later."""

RUN_MEMORY = 48 * 2**20  # bytes that the processes of one run share with no other process, at their largest
SERVICE_MEMORY = 512 * 2**20  # bytes for the service, the server that runs are forked from, and PostgreSQL
MAXIMUM = 64  # runs; more would need more connections to PostgreSQL and descriptors than most machines allow


def of_machine(cpus: float, memory: int) -> int:
    """Return the number of runs for this many processors and bytes of memory; at least 1."""
    by_memory = (memory - SERVICE_MEMORY) // RUN_MEMORY
    return max(1, min(int(cpus * RUNS_PER_CPU), by_memory, MAXIMUM))


def of_this_machine() -> int:
    """Return the number of runs for the processors and the memory that this process may use."""
    return of_machine(machine.cpus(), machine.memory())
