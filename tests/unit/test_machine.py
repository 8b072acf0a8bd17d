"""Processors and memory are those that the control groups of this process leave to it."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from service.observe import machine

CPUS = len(os.sched_getaffinity(0))
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MEGABYTE = 2**20
UNLIMITED_1 = "9223372036854771712"  # version 1 shows no limit as a very large number


def root(path: Path, groups: str, files: Mapping[str, str]) -> Path:
    """Return a directory with the files of /proc and /sys that show control groups."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text and text + "\n", encoding="ascii")
    return path


@pytest.mark.parametrize(
    ("groups", "files", "cpus", "memory"),
    [
        pytest.param("", {}, CPUS, MEMORY, id="no control groups"),
        pytest.param("0::/", {}, CPUS, MEMORY, id="the root group, which has no limits"),
        pytest.param(
            "0::/",
            {"sys/fs/cgroup/cpu.max": "50000 100000", "sys/fs/cgroup/memory.max": str(300 * MEGABYTE)},
            0.5,
            300 * MEGABYTE,
            id="a container",
        ),
        pytest.param(
            "0::/system.slice/takeover.service",
            {
                "sys/fs/cgroup/system.slice/cpu.max": "75000 100000",
                "sys/fs/cgroup/system.slice/takeover.service/cpu.max": "max 100000",
                "sys/fs/cgroup/system.slice/memory.max": "max",
                "sys/fs/cgroup/system.slice/takeover.service/memory.max": str(900 * MEGABYTE),
                "sys/fs/cgroup/system.slice/takeover.service/memory.high": str(800 * MEGABYTE),
            },
            0.75,
            800 * MEGABYTE,
            id="a unit, and the slice above it",
        ),
        pytest.param(
            "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n3:devices:/docker/1",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(200 * MEGABYTE),
            },
            0.25,
            200 * MEGABYTE,
            id="version 1, in a container that sees its own group as the root",
        ),
        pytest.param(
            "5:cpu:/\n4:memory:/\n0::/",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED_1,
            },
            CPUS,
            MEMORY,
            id="version 1 without limits",
        ),
        pytest.param(
            "0::/",
            {"sys/fs/cgroup/cpu.max": f"{(CPUS + 1) * 100000} 100000", "sys/fs/cgroup/memory.max": str(2 * MEMORY)},
            CPUS,
            MEMORY,
            id="limits above what the machine has",
        ),
    ],
)
def test_limits_of_control_groups(
    tmp_path: Path, groups: str, files: Mapping[str, str], cpus: float, memory: int
) -> None:
    directory = root(tmp_path, groups, files)

    assert machine.cpus(directory) == cpus
    assert machine.memory(directory) == memory


def test_a_machine_without_proc_has_its_own_numbers(tmp_path: Path) -> None:
    assert (machine.cpus(tmp_path), machine.memory(tmp_path)) == (CPUS, MEMORY)
