"""Ending everything a run has started, and knowing that it is gone.

Since ansible-core 2.19 its workers live in sessions of their own, so killing a process group leaves ssh and local
commands alive (docs/reference/ansible-runner.md E.1). A run's process is the subreaper of all it starts: whatever is
orphaned becomes its child, and a walk over its children finds it.
"""

import ctypes
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

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
    return _end(lambda: psutil.Process().children(recursive=True), grace, limit)


def end_marked(mark: str, directory: Path, grace: float = GRACE, limit: float = LIMIT) -> bool:
    """End every process with `mark` (`NAME=value`) in its environment, or working in `directory` or below.

    That is what a killed run left, wherever it hangs: programs have the mark, what was only forked has the directory.
    """
    return _end(
        lambda: [
            process for process in psutil.process_iter() if _is_marked(process, mark) or _works_in(process, directory)
        ],
        grace,
        limit,
    )


def _prctl(option: int, argument: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _end(find: Callable[[], list[psutil.Process]], grace: float, limit: float) -> bool:
    asked = _signal(_living(find()), signal.SIGTERM)
    deadline = time.monotonic() + grace
    while asked and _living(find()) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    deadline = time.monotonic() + limit
    while living := _living(find()):
        if time.monotonic() > deadline:
            return False
        _signal(living, signal.SIGKILL)
        time.sleep(PAUSE)
    return True


def _living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are not zombies; a zombie waits to be reaped by whoever started it."""
    return [process for process in processes if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:  # gone, or somebody else's
        return False
    return mark.encode() in environment.split(b"\0")


def _works_in(process: psutil.Process, directory: Path) -> bool:
    try:
        return Path(f"/proc/{process.pid}/cwd").readlink().is_relative_to(directory)
    except OSError:  # gone, or somebody else's
        return False


def _signal(processes: list[psutil.Process], number: signal.Signals) -> bool:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    return bool(processes)
