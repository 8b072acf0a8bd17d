"""Forked processes that run tests: each is the leader of its own process group and has a time limit."""

import gc
import importlib
import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass

PROJECT = ("service", "tests", "scripts", "ansible_collections", "conftest", "__main__")


@dataclass(frozen=True)
class Ended:
    """End of one process: its exit status, and whether its time was over."""

    status: int
    late: bool


class Fork:
    """One function in a forked process, whose exit status it returns."""

    def __init__(self, work: Callable[[], int], seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._late = False
        self._ended: Ended | None = None
        self.pid = os.fork()
        if not self.pid:
            _run(work)

    def poll(self) -> Ended | None:
        """Return how the process ended, or None while it runs; kill it after its deadline."""
        if not self._ended:
            if not self._late and time.monotonic() > self._deadline:
                self._late = True
                self.kill()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._ended = Ended(os.waitstatus_to_exitcode(status), self._late) if pid else None
        return self._ended

    def wait(self) -> Ended:
        """Return how the process ended, when it has."""
        while not (ended := self.poll()):
            time.sleep(0.01)
        return ended

    def end(self, seconds: float = 30.0) -> None:
        """Interrupt the process, which ends those that it has forked; kill it after some seconds."""
        if not self.poll():
            os.kill(self.pid, signal.SIGINT)
            self._deadline = min(self._deadline, time.monotonic() + seconds)
            self.wait()

    def kill(self) -> None:
        """End the process and those that it has started."""
        with suppress(ProcessLookupError):  # it is not yet the leader of its group
            os.killpg(self.pid, signal.SIGKILL)
        os.kill(self.pid, signal.SIGKILL)


def _run(work: Callable[[], int]) -> None:
    """Call the function in this process and end it."""
    status = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell ignores it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if "MUTANTS_OUTPUT" not in os.environ:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
        status = work()
    finally:
        os._exit(status)


def each[Work](work: Sequence[Work], start: Callable[[Work], Fork], at_once: int) -> Generator[tuple[Work, Ended]]:
    """Start a process for each piece of work, a few at a time, and yield it with its end."""
    waiting, running = list(reversed(work)), list[tuple[Work, Fork]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                piece = waiting.pop()
                running.append((piece, start(piece)))
            time.sleep(0.002)
            for entry in list(running):
                if ended := entry[1].poll():
                    running.remove(entry)
                    yield entry[0], ended
    finally:
        for _, fork in running:  # this program was interrupted
            fork.kill()


def preload(names: Sequence[str]) -> None:
    """Import libraries, so that forks have them; those that cannot be imported by themselves are left to the forks."""
    for name in names:
        if name.partition(".")[0] not in PROJECT:
            try:
                importlib.import_module(name)
            except Exception:  # noqa: S112 - any module of any library
                continue
    gc.collect()
    gc.freeze()  # pytest collects garbage at the end of each run, and all of this is none
