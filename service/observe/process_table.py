"""Lists the processes of this machine, and signals them safely.

A process id alone is reused, and `psutil.Process.create_time` moves with the wall clock. A process is identified by
its id and its start time in clock ticks since boot, which the kernel never changes. Signals go through a process file
descriptor, which refers to one process only.
"""

import errno
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ZOMBIE = b"Z"
_STATE, _PARENT, _STARTED = 0, 1, 19  # fields of /proc/PID/stat behind the name


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process, identified by its id and start time."""

    pid: int
    started: int
    """Clock ticks since boot."""

    def is_alive(self) -> bool:
        """Return whether the process runs; a zombie does not."""
        found = _stat(self.pid)
        return found is not None and int(found[_STARTED]) == self.started and found[_STATE] != ZOMBIE

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended or belongs to a user whom this process may not signal."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            self._send_by_id(number)  # Linux before 5.3
            return
        try:
            if self.is_alive():
                signal.pidfd_send_signal(descriptor, number)
        except (ProcessLookupError, PermissionError):
            return
        finally:
            os.close(descriptor)

    def _send_by_id(self, number: signal.Signals) -> None:
        try:
            if self.is_alive():
                os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return


def find(pid: int) -> Process | None:
    """Return the process with this id; None when there is none, or only a zombie."""
    found = _stat(pid)
    return None if found is None or found[_STATE] == ZOMBIE else Process(pid=pid, started=int(found[_STARTED]))


def running_processes() -> list[Process]:
    """Return every running process; zombies are left out, since they only wait to be reaped."""
    return [process for process, _ in _read_all()]


def descendants(ancestor: int) -> list[Process]:
    """Return every running descendant of the process with the id `ancestor`."""
    children: dict[int, list[Process]] = {}
    for process, parent in _read_all(zombies=True):  # a zombie may still have children for a moment
        children.setdefault(parent, []).append(process)
    found: list[Process] = []
    waiting = [ancestor]
    while waiting:
        waiting_for = children.pop(waiting.pop(), [])
        found += waiting_for
        waiting += [process.pid for process in waiting_for]
    return still_running(found)


def still_running(processes: Iterable[Process]) -> list[Process]:
    """Return those processes that still run."""
    return [process for process in processes if process.is_alive()]


def _read_all(*, zombies: bool = False) -> list[tuple[Process, int]]:
    """Return every process with the id of its parent."""
    found = []
    for pid in (int(entry.name) for entry in os.scandir(PROC) if entry.name.isascii() and entry.name.isdigit()):
        fields = _stat(pid)
        if fields is not None and (zombies or fields[_STATE] != ZOMBIE):
            found.append((Process(pid=pid, started=int(fields[_STARTED])), int(fields[_PARENT])))
    return found


def _stat(pid: int) -> list[bytes] | None:
    """Return the fields after the process name, which may contain anything; None without such a process."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(b")")[2].split()
