"""Runs on the host: stops one OBProxy and its watchdogs, and nothing else."""

# ruff: noqa: PTH123

import json
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "


def started(pid: int) -> "int | None":
    """When a process was started (clock ticks after boot), None when there is none or it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def end(pid: int, seconds: int) -> bool:
    """SIGTERM, and SIGKILL when that did not help in time; whether it is gone."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + seconds / 2
        try:
            os.kill(pid, word)
        except ProcessLookupError:
            return True
        while started(pid) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
    return started(pid) is None


def stop(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """`wanted`: watchdogs (pids), process {pid, started}, seconds. The OBProxy is ended only when it is still the one
    that was looked at."""
    for pid in wanted["watchdogs"]:
        end(pid, wanted["seconds"])
    process = wanted["process"]
    if started(process["pid"]) == process["started"] and not end(process["pid"], wanted["seconds"]):
        return {"problem": f"pid {process['pid']} is still there after SIGKILL"}
    return {}


def main(wanted: "dict[str, Any]") -> None:
    """Print the outcome as one marked line."""
    signal.alarm(wanted["seconds"] * 4)
    print(MARKER + json.dumps(stop(wanted)))
