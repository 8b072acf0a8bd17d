"""Part of host programs: reads when a process was started, and terminates it."""

# ruff: noqa: PTH123

import os
import signal
import time


def start_time(pid: int) -> "int | None":
    """Return the start time of a process in clock ticks after boot, None when it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def terminate(pid: int, seconds: int) -> bool:
    """Send SIGTERM, then SIGKILL after a timeout; return whether the process has ended.

    A later process with the same pid gets no signal.
    """
    since = start_time(pid)
    for word in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + seconds / 2
        if since is None or start_time(pid) != since:
            return True
        try:
            os.kill(pid, word)
        except ProcessLookupError:
            return True
        while start_time(pid) == since and time.monotonic() < deadline:
            time.sleep(0.05)
    return start_time(pid) != since
