"""The progress line of a test session."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.progress import KNOWN, USUAL, Progress

ROOT = Path(__file__).parents[2]

IDS = [*(f"tests/lab/test_a.py::test_{n}" for n in range(10)), *(f"tests/unit/test_b.py::test_{n}" for n in range(100))]


def progress() -> Progress:
    begun = Progress()
    begun.expect(IDS)
    return begun


def test_no_estimate_without_a_test() -> None:
    assert progress().line(5) == "0:05: lab 0 of 10, unit 0 of 100"


def test_each_folder_has_its_own_pace_after_many_tests() -> None:
    begun = progress()
    for node_id in IDS[:10]:
        for phase in ("setup", "call", "teardown"):
            begun.add(node_id, 10, ended=phase == "teardown")
    for node_id in IDS[10:60]:
        begun.add(node_id, 0.2, ended=True)
    # 310 s of tests in 155 s: two run at the same time. Left are 50 tests, and 50 others took 10 s.
    pace = (10 + KNOWN * USUAL["unit"] * 310 / (10 * USUAL["lab"] + 50 * USUAL["unit"])) / (50 + KNOWN)
    assert begun.seconds_left(155) == pytest.approx(50 * pace / 2)
    assert begun.line(155) == "2:35: lab 10 of 10, unit 50 of 100; about 0:05 left"


def test_a_folder_that_has_hardly_begun_takes_its_usual_time() -> None:
    begun = progress()
    begun.add(IDS[0], 2 * USUAL["lab"], ended=True)  # half as fast as usual
    assert begun.seconds_left(10) == pytest.approx((9 * USUAL["lab"] + 100 * USUAL["unit"]) * 10 / USUAL["lab"])


def test_each_folder_has_a_usual_time() -> None:
    assert {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))} == USUAL.keys()


def test_tests_outside_of_a_folder_count_by_their_file() -> None:
    begun = Progress()
    begun.expect(["tests/test_c.py::test_1", "tests/lab/chaos/test_d.py::test_1[tests/unit/x.py::y]"])
    assert set(begun.folders) == {"test_c.py", "lab"}


def test_a_session_with_workers_shows_it() -> None:
    chosen = "tests/scripts/test_progress.py::test_each_folder_has_a_usual_time"
    command = [sys.executable, "-m", "pytest", "--numprocesses=1", "-p", "no:cacheprovider", chosen]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+:\d\d: scripts 0 of 1", done.stdout, re.MULTILINE), done.stdout
