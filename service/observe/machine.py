"""Processors and memory that this process may use: those of the machine, within the limits of its control groups.

A container or a systemd unit limits both by control groups (cgroups, version 1 or 2), and the machine's own numbers do
not show that.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("sys/fs/cgroup")
_MEMORY_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")


def cpus(root: Path = Path("/")) -> float:
    """Return the number of processors that this process may use, with a fraction where a quota grants one."""
    quotas = (quota for group in _groups(root, "cpu") for quota in _cpu_quotas(group))
    return min([float(len(os.sched_getaffinity(0))), *quotas])


def memory(root: Path = Path("/")) -> int:
    """Return the memory in bytes that this process and the others of its control group may use together."""
    limits = (limit for group in _groups(root, "memory") for name in _MEMORY_LIMITS for limit in _numbers(group / name))
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *limits])


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of this process's control group and of those above it, whose limits hold too."""
    with suppress(OSError):  # a machine without control groups
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            mounted = root / _CGROUPS / (controller if controllers else "")  # version 2 has one tree, without a name
            group = mounted / path.lstrip("/")
            yield from (parent for parent in (group, *group.parents) if parent.is_relative_to(mounted))


def _cpu_quotas(group: Path) -> Iterator[float]:
    """Yield the quota of a control group as a number of processors, if it has one."""
    version_2 = _numbers(group / "cpu.max")
    version_1 = [*_numbers(group / "cpu.cfs_quota_us"), *_numbers(group / "cpu.cfs_period_us")]
    for numbers in (version_2, version_1):
        match numbers:  # microseconds; without a quota, the first number is missing or negative
            case [quota, period] if quota > 0 and period > 0:
                yield quota / period


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a file of a control group; a limit that is not set is the word `max`."""
    with suppress(OSError, ValueError):
        return [int(word) for word in file.read_text(encoding="ascii").split()]
    return []
