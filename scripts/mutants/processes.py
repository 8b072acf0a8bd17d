"""Runs tests in forked processes in which one module is mutated.

A fork has pytest and all libraries imported already, and imports this project itself: a test run starts in
milliseconds, and every importer gets the mutated module.
"""

import gc
import importlib
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

OPTIONS = ("-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "--color=no", "--no-header")
PROJECT = ("service", "tests", "scripts", "ansible_collections", "conftest", "__main__")


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from changed code."""

    def __init__(self, name: str, file: Path, code: str) -> None:
        self.name = name
        self.file = file
        self.code = code

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a specification with this loader for the mutated module."""
        if fullname != self.name:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(self.file))
        spec.has_location = True
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the changed code as the module."""
        exec(compile(self.code, str(self.file), "exec"), module.__dict__)  # noqa: S102 - the purpose of this program


@dataclass(frozen=True)
class Ended:
    """End of one test run: 0 if all tests passed, and whether its time was over."""

    status: int
    late: bool
    seconds: float


class Fork:
    """One test run in a forked process, the leader of its own process group."""

    def __init__(self, finders: Sequence[importlib.abc.MetaPathFinder], tests: Sequence[str], seconds: float) -> None:
        self._started = time.monotonic()
        self._deadline = self._started + seconds
        self._late = False
        self.pid = os.fork()
        if not self.pid:
            _run(finders, tests)

    def poll(self) -> Ended | None:
        """Return how the run ended, or None while it runs; kill it after its deadline."""
        if not self._late and time.monotonic() > self._deadline:
            self._late = True
            self.kill()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        return Ended(os.waitstatus_to_exitcode(status), self._late, time.monotonic() - self._started)

    def kill(self) -> None:
        """End the run and the processes that it has started."""
        with suppress(ProcessLookupError):  # it is not yet the leader of its group
            os.killpg(self.pid, signal.SIGKILL)
        os.kill(self.pid, signal.SIGKILL)


def preload(names: Sequence[str]) -> None:
    """Import the libraries that a test run has imported; what cannot be imported by itself is left to the runs."""
    for name in names:
        if name.partition(".")[0] not in PROJECT:
            try:
                importlib.import_module(name)
            except Exception:  # noqa: S112 - any module of any library
                continue
    gc.collect()
    gc.freeze()  # pytest collects garbage at the end of each run, and all of this is none


def first(tests: Sequence[str], seconds: float) -> tuple[Ended, list[str]]:
    """Run the tests without a mutation; return the end, and the names of the imported modules."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    fork = Fork([_Report(writing)], tests, seconds)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as names:
        loaded = names.read().split()
    while (ended := fork.poll()) is None:
        time.sleep(0.01)
    return ended, loaded


class _Report(importlib.abc.MetaPathFinder):
    """Finds no module; writes the names of all that are searched."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Write the name of the module."""
        os.write(self._descriptor, f"{fullname}\n".encode())


def _run(finders: Sequence[importlib.abc.MetaPathFinder], tests: Sequence[str]) -> None:
    """Run the tests in this process and end it."""
    status = 1
    try:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        if "MUTANTS_OUTPUT" not in os.environ:
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
        sys.meta_path[:0] = finders
        status = int(pytest.main([*OPTIONS, *tests]))
    finally:
        os._exit(status)


def each[Work](work: Sequence[Work], start: Callable[[Work], Fork], at_once: int) -> Generator[tuple[Work, Ended]]:
    """Start a run for each piece of work, a few at a time, and yield it with its end."""
    waiting, running = list(reversed(work)), list[tuple[Work, Fork]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                piece = waiting.pop()
                running.append((piece, start(piece)))
            time.sleep(0.005)
            for entry in list(running):
                if ended := entry[1].poll():
                    running.remove(entry)
                    yield entry[0], ended
    finally:
        for _, fork in running:  # this program was interrupted
            fork.kill()
