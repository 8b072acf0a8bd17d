"""CPU seconds and memory of everything that this process has started, from /proc alone.

The process becomes the subreaper of its descendants, so none leaves its tree: neither the ssh of ControlPersist nor a
PostgreSQL in the background. A process that has ended counts
through its parent, which has waited for it. Without a waiting parent it stays there as a zombie with its times.
Processes below a conmon are lab hosts and are not counted.
"""

import os
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.runs.process_tree import become_subreaper

_TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
SETTLE_DEADLINE = 20.0  # seconds until what a contender has started must be gone
_PROXY = ("obproxy", "obproxyd.sh")  # of a host: they work all the time, in every case
_PAUSE = 0.02  # seconds between two looks
_QUIET = 0.25  # of this machine's CPU time; lab hosts that are left alone need some of it
_LOOK = 0.5  # seconds over which that is measured
UNSHARED = ("Private_Clean", "Private_Dirty")
"""Kinds of memory that a process shares with no other: after a fork, the pages that it has written to."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A process as /proc/PID/stat describes it."""

    pid: int
    parent: int
    name: str
    is_zombie: bool
    cpu: float  # seconds, with those of the children it has waited for


def begin() -> None:
    """To be called once, before anything is started."""
    become_subreaper()


def cpu_seconds() -> float:
    """Return the CPU time of this process's descendants until now, the ended ones included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(entry.cpu for entry in _below(os.getpid(), skip=("conmon",))) + ended.ru_utime + ended.ru_stime


def host_cpu_seconds(first_pid: int) -> float:
    """Return the CPU time of a lab host since its start, without its OBProxy; `first_pid` is its process 1, an sshd."""
    with_first = [entry for entry in _entries() if entry.pid == first_pid]
    return sum(entry.cpu for entry in [*with_first, *_below(first_pid, skip=_PROXY)])


def descendants() -> set[int]:
    """Return all that this process has started, zombies and PostgreSQL's included, without lab hosts."""
    return {entry.pid for entry in _below(os.getpid(), skip=("conmon",))}


def running_descendants() -> set[int]:
    """Return the running descendants, except PostgreSQL's, which come and go with its pool of connections."""
    return {
        entry.pid for entry in _below(os.getpid(), skip=("conmon",)) if not entry.is_zombie and entry.name != "postgres"
    }


def settle(before: set[int]) -> None:
    """Wait until nothing runs that did not run before: its CPU time is known to its parent then.

    The service reads its inventory again each minute. The process with the new snapshot replaces one of those before.
    """
    deadline = time.monotonic() + SETTLE_DEADLINE
    while len(more := (now := running_descendants()) - before) > len(before - now):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still running: {sorted(more)}")
        time.sleep(_PAUSE)


def machine_seconds() -> float:
    """CPU seconds that all processes of this machine have used."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, *_ = map(int, fields)
    return (user + nice + system + irq + softirq) * _TICK


def wait_until_quiet(patience: float) -> None:
    """Wait until little goes on here, in vain for `patience` seconds at the most."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        begun, used = time.monotonic(), machine_seconds()
        time.sleep(_LOOK)
        if machine_seconds() - used < _QUIET * (time.monotonic() - begun) * (os.cpu_count() or 1):
            return


@dataclass
class Peak:
    """The most memory at one time, in bytes: with shared pages split among their holders, and of unshared pages."""

    split: int = 0
    unshared: int = 0


@contextmanager
def peak_memory(before: set[int], *, interval: float = 0.25) -> Iterator[Peak]:
    """Return the largest memory of the processes that did not run `before`."""
    peak, stop = Peak(), threading.Event()

    def sample() -> None:
        while not stop.wait(interval):
            pids = running_descendants() - before
            peak.split = max(peak.split, sum(memory(pid) for pid in pids))
            peak.unshared = max(peak.unshared, sum(memory(pid, *UNSHARED) for pid in pids))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _below(root: int, *, skip: tuple[str, ...]) -> Iterator[Entry]:
    """Return the descendants of a process, without those named in `skip` and their descendants."""
    children = defaultdict(list)
    for entry in _entries():
        children[entry.parent].append(entry)
    waiting = list(children[root])
    while waiting:
        entry = waiting.pop()
        if entry.name not in skip:
            yield entry
            waiting += children[entry.pid]


def _entries() -> Iterator[Entry]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                text = (directory / "stat").read_text(errors="replace")
            except OSError:  # gone meanwhile
                continue
            yield parse(text)


def parse(text: str) -> Entry:
    """One /proc/PID/stat; the name may hold spaces and parentheses (proc(5))."""
    head, _, rest = text.rpartition(")")
    pid, _, name = head.partition(" (")
    fields = rest.split()
    return Entry(
        pid=int(pid),
        parent=int(fields[1]),
        name=name,
        is_zombie=fields[0] == "Z",
        cpu=sum(map(int, fields[11:15])) * _TICK,
    )


def memory(pid: int, *kinds: str) -> int:
    """Bytes of a process, of the kinds that /proc/PID/smaps_rollup names.

    By default Pss, which splits shared pages among their holders.
    """
    wanted = {f"{kind}:" for kind in kinds or ("Pss",)}
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # gone meanwhile
        return 0
    rows = (line.split() for line in text.splitlines()[1:])
    return sum(int(size) * 1024 for kind, size, *_ in rows if kind in wanted)


def named(name: str) -> set[int]:
    """Return this process's descendants of that name, except those of lab hosts."""
    return {entry.pid for entry in _below(os.getpid(), skip=("conmon",)) if entry.name == name}
