"""Part of host programs: reads when a process was started, and ends it, also with all processes that it started."""

# ruff: noqa: PTH123, PTH208

import os
import signal
import time

STOP_ROUNDS = 100  # until no process starts another


def start_time(pid: int) -> "int | None":
    """Return the start time of a process in clock ticks after boot, None when it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def terminate(pid: int, seconds: float) -> bool:
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


def started_by(pid: int) -> "dict[int, int]":
    """Return the start times of a process and its descendants, and of the other processes in their sessions, by pid."""
    processes = {}  # type: dict[int, tuple[int, int, int]]
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(name)}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        processes[int(name)] = (int(fields[1]), int(fields[3]), int(fields[19]))
    family, new = set(), {pid} & processes.keys()
    while new:
        family |= new
        new = {one for one, (parent, _, _) in processes.items() if parent in new} - family
    sessions = {processes[one][1] for one in family} - {os.getsid(0)}
    return {one: since for one, (_, session, since) in processes.items() if one in family or session in sessions}


def kill_all_started_by(pid: int) -> None:
    """Kill a child of this program with all that it has started: `su` starts a login shell in a session of its own.

    All are stopped before the first is killed: a stopped process starts no other. A later process with the pid of one
    that has ended meanwhile gets no signal.
    """
    stopped = {}  # type: dict[int, int]
    for _ in range(STOP_ROUNDS):
        new = {one: since for one, since in started_by(pid).items() if stopped.get(one) != since}
        if not new:
            break
        send(signal.SIGSTOP, new)
        stopped.update(new)
    send(signal.SIGKILL, stopped)


def send(number: int, processes: "dict[int, int]") -> None:
    """Send a signal to processes with these start times; those that have ended are skipped."""
    for pid, since in processes.items():
        try:
            if start_time(pid) == since:
                os.kill(pid, number)
        except OSError:
            continue
