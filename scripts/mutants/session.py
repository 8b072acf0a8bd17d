"""Runs collected tests once for each mutation, each time in a fork of the process that has collected them.

A fork has everything imported and starts in milliseconds. The first run has no mutation. It shows the time of each
test and the places that it uses, so the quickest tests of the changed place run first.
"""

import gc
import resource
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest
from hypothesis import Phase, settings

from scripts.mutants.mutations import Mutation
from scripts.mutants.processes import Fork, each
from scripts.mutants.subjects import Applied, Finders, Place, Subject

PROFILE = "mutants"
OPTIONS = ("-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "--color=no")
FIRST = 900.0  # seconds for the run without a mutation
SLOWER = 10  # times its usual time is the limit of a test, and of a run
SPARE = 1.0  # seconds of the processor that a test may use in addition
START = 60.0  # seconds in addition for a run
SURVIVED = 0  # exit statuses of a run with a mutation
KILLED = 1
IMPORTED = 3  # the mutation needs another import


@dataclass(frozen=True)
class Profile:
    """The tests without a mutation: seconds of the processor and used places of each, and the imported libraries."""

    seconds: float
    times: Mapping[str, float]
    used: Mapping[str, frozenset[Place]]
    libraries: tuple[str, ...]

    def order(self, subject: Subject, mutation: Mutation) -> list[str]:
        """Return the tests of the changed places, then those of the places around them; the quickest first."""
        places = subject.places(mutation)
        if not places:
            return sorted(self.times, key=self.times.__getitem__)
        changed, around = places
        users = [name for name, used in self.used.items() if used & (changed | around)]
        return sorted(users, key=lambda name: (not self.used[name] & changed, self.times[name]))

    @property
    def limit(self) -> float:
        """Seconds after which a run is ended."""
        return START + SLOWER * self.seconds


class TestsFailed(Exception):
    """Tests fail without a mutation."""


def run(
    subject: Subject, tests: Sequence[str], mutations: Sequence[Mutation], at_once: int
) -> Generator[Profile | tuple[Mutation, int]]:
    """Yield the profile of the tests, then each mutation with the exit status of its run.

    Raises:
        TestsFailed: tests fail without a mutation

    """
    receiving, sending = Pipe(duplex=False)
    plugin = _Mutating(subject, mutations, at_once, sending)
    process = Fork(partial(_session, subject.prepared, tests, plugin), seconds=float("inf"))
    sending.close()
    failed = TestsFailed("they cannot be collected, or end their process")
    done = 0
    try:
        for message in _messages(receiving):
            if isinstance(message, TestsFailed):
                failed = message
            else:
                yield message
                done += isinstance(message, tuple)
        process.wait()
    finally:
        process.end()
    if done < len(mutations):
        raise failed


def run_again(finders: Finders, tests: Sequence[str], order: Sequence[str]) -> int:
    """Import everything again, run the tests in an order until one fails, and return 0 if none does."""
    return _session(lambda: nullcontext(finders), tests, _InOrder(order))


def _messages(connection: Connection) -> Generator[Any]:
    while True:
        try:
            yield connection.recv()
        except EOFError:
            return


def _session(prepared: Callable[[], AbstractContextManager[Finders]], tests: Sequence[str], plugin: object) -> int:
    """Run pytest in this process. A found counterexample is enough: Hypothesis looks for no simpler one."""
    settings.register_profile(
        PROFILE, derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate)
    )
    with prepared() as finders:
        sys.meta_path[:0] = finders
        return int(pytest.main([*OPTIONS, f"--hypothesis-profile={PROFILE}", *tests], plugins=[plugin]))


class _Runs:
    """Runs tests and notices failures."""

    failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed

    def until_failure(self, items: Sequence[pytest.Item], times: Mapping[str, float]) -> int:
        """Run the tests until one fails; one that uses too much time of the processor ends this process."""
        for item, following in zip_longest(items, items[1:]):
            signal.setitimer(signal.ITIMER_PROF, SPARE + SLOWER * times.get(item.nodeid, FIRST))
            _run(item, following)
            if self.failed:
                return KILLED
        return SURVIVED


class _InOrder(_Runs):
    """Runs the tests in another order until one fails."""

    def __init__(self, order: Sequence[str]) -> None:
        self._rank = {name: number for number, name in enumerate(order)}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = sorted(session.items, key=lambda item: self._rank.get(item.nodeid, 0))
        if session.testsfailed or self.until_failure(items, {}) == KILLED:
            pytest.exit("a test has failed", returncode=KILLED)
        return True


class _Mutating(_Runs):
    """Runs all collected tests once, then in a fork for each mutation."""

    def __init__(self, subject: Subject, mutations: Sequence[Mutation], at_once: int, results: Connection) -> None:
        self._subject = subject
        self._mutations = mutations
        self._at_once = at_once
        self._results = results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        self._subject.collected()
        gc.collect()
        gc.freeze()  # pytest collects garbage at the end of each run, and all of this is none
        profile = self._profile(session.items)
        self._results.send(profile)
        if isinstance(profile, Profile):
            start = partial(self._start, profile, {item.nodeid: item for item in session.items})
            for mutation, ended in each(self._mutations, start, self._at_once):
                self._results.send((mutation, ended.status))
        return True

    def _profile(self, items: Sequence[pytest.Item]) -> Profile | TestsFailed:
        receiving, sending = Pipe(duplex=False)
        started = time.monotonic()
        process = Fork(partial(self._measure, items, sending), FIRST)
        sending.close()
        found = list(_messages(receiving))
        if process.wait().status:
            return TestsFailed(found[-1][0] if found else "the first one")
        *measured, (_, libraries) = found
        times = {name: seconds for name, seconds, _ in measured}
        return Profile(time.monotonic() - started, times, {name: used for name, _, used in measured}, libraries)

    def _measure(self, items: Sequence[pytest.Item], results: Connection) -> int:
        self._subject.used()
        for item, following in zip_longest(items, items[1:]):
            started = _processor_seconds()
            _run(item, following)
            results.send((item.nodeid, _processor_seconds() - started, frozenset(self._subject.used())))
            if self.failed:
                return KILLED
        results.send((None, tuple(sys.modules)))
        return SURVIVED

    def _start(self, profile: Profile, items: Mapping[str, pytest.Item], mutation: Mutation) -> Fork:
        order = profile.order(self._subject, mutation)

        def work() -> int:
            applied = self._subject.apply(mutation)
            if applied is Applied.NOTHING:
                return IMPORTED
            status = self.until_failure([items[name] for name in order], profile.times)
            return IMPORTED if status == SURVIVED and applied is Applied.PARTS else status

        return Fork(work, profile.limit)


def _run(item: pytest.Item, following: pytest.Item | None) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _processor_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
