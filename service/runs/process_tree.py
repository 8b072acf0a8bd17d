"""Terminates all processes that a run has started, and verifies that they are gone.

Since ansible-core 2.19, Ansible's workers have sessions of their own: killing a process group leaves ssh and local
commands alive (docs/reference/ansible-runner.md E.1). The run's child is the subreaper of its process tree: orphans
become its children, and a walk over its descendants finds them.
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
TERMINATE_TIMEOUT = 1.0  # seconds between SIGTERM and SIGKILL: ansible-playbook ends its workers on SIGTERM
KILL_TIMEOUT = 5.0  # seconds during which new processes are killed
POLL_INTERVAL = 0.005  # seconds


def become_subreaper() -> None:
    """Make this process the subreaper of its process tree: orphaned descendants become its children."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_process_name(name: str) -> None:
    """Set the name of this process in process lists; the kernel keeps the first 15 characters."""
    _prctl(PR_SET_NAME, name.encode())


def disable_core_dumps() -> None:
    """Disable core dumps of this process and its children, because their memory contains secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def terminate_children(terminate_timeout: float = TERMINATE_TIMEOUT, kill_timeout: float = KILL_TIMEOUT) -> bool:
    """Terminate every descendant of this process, first with SIGTERM; return whether none is left."""
    return _terminate(lambda: process_table.descendants(os.getpid()), terminate_timeout, kill_timeout)


def terminate_marked(marker: str, directory: Path) -> bool:
    """Terminate every process with `marker` (`NAME=value`) in its environment or a working directory in `directory`.

    These are the orphaned processes of a killed run: programs inherit the marker, forked processes the directory.
    """
    return _terminate(
        lambda: [
            process
            for process in process_table.running_processes()
            if _is_marked(process, marker) or _works_in(process, directory)
        ],
        TERMINATE_TIMEOUT,
        KILL_TIMEOUT,
    )


def _prctl(option: int, argument: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _terminate(find: Callable[[], list[Process]], terminate_timeout: float, kill_timeout: float) -> bool:
    signaled = _signal(find(), signal.SIGTERM)
    deadline = time.monotonic() + terminate_timeout
    while signaled and find() and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL)
    deadline = time.monotonic() + kill_timeout
    while alive := find():
        if time.monotonic() > deadline:
            return False
        _signal(alive, signal.SIGKILL)
        time.sleep(POLL_INTERVAL)
    return True


def _is_marked(process: Process, marker: str) -> bool:
    try:
        environment = (process_table.PROC / str(process.pid) / "environ").read_bytes()
    except OSError:  # ended, or of another user
        return False
    return marker.encode() in environment.split(b"\0")


def _works_in(process: Process, directory: Path) -> bool:
    try:
        return (process_table.PROC / str(process.pid) / "cwd").readlink().is_relative_to(directory)
    except OSError:  # ended, or of another user
        return False


def _signal(processes: list[Process], number: signal.Signals) -> bool:
    for process in processes:
        process.send(number)
    return bool(processes)
