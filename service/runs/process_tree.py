"""Ending everything a run has started, and knowing that it is gone.

Since ansible-core 2.19 its workers live in sessions of their own, so killing a process group leaves ssh and local
commands alive (docs/reference/ansible-runner.md E.1). A run's process is the subreaper of all it starts: whatever is
orphaned becomes its child, and a walk over its children finds it.
"""

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from service.observe import process_table
from service.observe.process_table import Process

PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
GRACE = 1.0  # seconds between asking and killing: ansible-playbook ends its own workers when asked
LIMIT = 5.0  # seconds to go on killing what keeps appearing
PAUSE = 0.005  # seconds between two looks


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def take_name(name: str) -> None:
    """Be listed under `name`, of which the kernel keeps the first 15 characters."""
    _prctl(PR_SET_NAME, name.encode())


def dump_nothing() -> None:
    """When this process crashes, or one that it starts, its memory is not written to a disk: it has secrets in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_children(grace: float = GRACE, limit: float = LIMIT) -> bool:
    """End every process below this one, first by asking; True when none is left."""
    return _end(lambda: process_table.below(os.getpid()), grace, limit)


def end_marked(mark: str, directory: Path, grace: float = GRACE, limit: float = LIMIT) -> bool:
    """End every process with `mark` (`NAME=value`) in its environment, or working in `directory` or below.

    That is what a killed run left, wherever it hangs: programs have the mark, what was only forked has the directory.
    """
    return _end(
        lambda: [
            process
            for process in process_table.everything()
            if _is_marked(process, mark) or _works_in(process, directory)
        ],
        grace,
        limit,
    )


def _prctl(option: int, argument: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _end(find: Callable[[], list[Process]], grace: float, limit: float) -> bool:
    asked = _signal(find(), signal.SIGTERM)
    deadline = time.monotonic() + grace
    while asked and find() and time.monotonic() < deadline:
        time.sleep(PAUSE)
    deadline = time.monotonic() + limit
    while living := find():
        if time.monotonic() > deadline:
            return False
        _signal(living, signal.SIGKILL)
        time.sleep(PAUSE)
    return True


def _is_marked(process: Process, mark: str) -> bool:
    try:
        environment = (process_table.PROC / str(process.pid) / "environ").read_bytes()
    except OSError:  # gone, or somebody else's
        return False
    return mark.encode() in environment.split(b"\0")


def _works_in(process: Process, directory: Path) -> bool:
    try:
        return (process_table.PROC / str(process.pid) / "cwd").readlink().is_relative_to(directory)
    except OSError:  # gone, or somebody else's
        return False


def _signal(processes: list[Process], number: signal.Signals) -> bool:
    for process in processes:
        process.send(number)
    return bool(processes)
