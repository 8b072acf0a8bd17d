"""Counts what a service could leave behind under load: temporary files, open descriptors, processes."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from . import accounting

PLACES = {Path(tempfile.gettempdir()), Path("/dev/shm")}
TOLERANCE = 0.25  # of the first quarter by which a count may vary, and
SLACK = 10.0  # that many besides


def count() -> dict[str, float]:
    """Return the counts now: of this process's descendants without lab hosts, and of the temporary directories."""
    processes = accounting.descendants()
    return {
        "temporary files": sum(_entries(place) for place in PLACES),
        "descriptors": sum(_descriptors(pid) for pid in processes),
        "processes": len(processes),
    }


def growing(samples: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[str]:
    """Return a sentence for each count whose median in the last quarter is beyond that of the first."""
    size = max(len(samples) // 4, 1)
    found = []
    for name in names:
        first, last = (median(sample[name] for sample in part) for part in (samples[:size], samples[-size:]))
        if last > first * (1 + TOLERANCE) + SLACK:
            found.append(f"{name} grow from {first:.0f} to {last:.0f}")
    return found


def _entries(place: Path) -> int:
    return sum(len(folders) + len(files) for _, folders, files in os.walk(place))


def _descriptors(pid: int) -> int:
    with suppress(OSError):  # it has ended
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return 0
