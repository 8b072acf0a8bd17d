"""Part of programs that run on the host: whether a process runs, and its end."""

# ruff: noqa: PTH123

import os
import signal
import time


def start_time(pid: int) -> "int | None":
    """When a process was started (clock ticks after boot), None when there is none or it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def terminate(pid: int, seconds: int) -> bool:
    """SIGTERM, and SIGKILL when that did not help in time; whether it is gone."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + seconds / 2
        try:
            os.kill(pid, word)
        except ProcessLookupError:
            return True
        while start_time(pid) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
    return start_time(pid) is None
