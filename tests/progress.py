"""Progress of a test session: the tests that are done in each folder, and about how much time is left."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pytest

INTERVAL = 20.0  # seconds between two lines
# Seconds of a test in each folder on a machine with two processors; only their ratios count. A folder keeps this pace
# until more tests than KNOWN are done: the first ones also start what others share.
KNOWN = 20
USUAL = {"bench": 12.0, "browser": 16.0, "integration": 2.2, "lab": 7.0, "roles": 5.0, "scripts": 0.6, "unit": 0.05}


@dataclass
class Count:
    """The tests of a folder, how many of them are done, and the seconds that these took."""

    tests: int = 0
    done: int = 0
    seconds: float = 0.0


@dataclass
class Progress:
    """Counts the tests of each folder; the folder of `tests/lab/test_x.py::test_y` is `lab`."""

    folders: dict[str, Count] = field(default_factory=dict)

    def expect(self, node_ids: Iterable[str]) -> None:
        """Take the ids of all tests; a second call replaces the first, because each worker collects the same tests."""
        counts = Counter(_folder(node_id) for node_id in node_ids)
        self.folders = {folder: Count(tests=number) for folder, number in sorted(counts.items())}

    def add(self, node_id: str, seconds: float, *, ended: bool) -> None:
        """Add a phase of a test, which took `seconds`; the last one has `ended` it."""
        count = self.folders.setdefault(_folder(node_id), Count())
        count.seconds += seconds
        count.done += ended

    def seconds_left(self, elapsed: float) -> float | None:
        """Return about how long the session goes on after `elapsed` seconds; None while no test is done.

        A folder that has not begun takes its usual time, as much longer or shorter as the others took. Each test that
        is done gives its own time more weight. As many tests run at the same time as until now.
        """
        spent = sum(count.seconds for count in self.folders.values())
        usual = sum(count.done * _usual(folder) for folder, count in self.folders.items())
        if not usual or not spent:
            return None
        left = sum(
            (count.tests - count.done) * (count.seconds + KNOWN * _usual(folder) * spent / usual) / (count.done + KNOWN)
            for folder, count in self.folders.items()
        )
        return left * elapsed / spent

    def line(self, elapsed: float) -> str:
        """Return one line for a reader who waits."""
        left = self.seconds_left(elapsed)
        counts = ", ".join(f"{name} {count.done} of {count.tests}" for name, count in self.folders.items())
        return f"{_clock(elapsed)}: {counts}" + ("" if left is None else f"; about {_clock(left)} left")


class ProgressPlugin:
    """Writes the progress to the terminal of a session with pytest-xdist, whose dots do not show it."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal
        self._progress = Progress()
        self._started = time.monotonic()
        self._next = self._started  # the first line follows the first test

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        if not self._progress.folders:
            self._progress.expect(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._progress.add(report.nodeid, report.duration, ended=report.when == "teardown")
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            self._terminal.write("\n")  # the dots of the tests that are done stand in this line
            self._terminal.write_line(self._progress.line(now - self._started))


def _folder(node_id: str) -> str:
    parts = PurePosixPath(node_id.partition("::")[0]).parts
    return parts[1]


def _usual(folder: str) -> float:
    return USUAL.get(folder, 1.0)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
