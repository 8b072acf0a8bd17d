"""`make flaky`: repeated runs of test files beside busy processes."""

from pathlib import Path

import psutil
import pytest

from scripts import flaky

BUSY = 1
# Fails in the second run. The parent of pytest is the process that starts the busy processes.
TESTS = f"""
from pathlib import Path
import psutil

RUNS = Path(__file__).with_name("runs")


def test_counts():
    RUNS.write_text(RUNS.read_text() + "x" if RUNS.exists() else "x")
    assert len(RUNS.read_text()) != 2


def test_runs_beside_busy_processes():
    beside = [process for process in psutil.Process().parent().children() if "while True" in str(process.cmdline())]
    assert len(beside) == {BUSY}
"""


def busy() -> list[psutil.Process]:
    """Return the busy processes that this process has started."""
    return [process for process in psutil.Process().children() if "while True" in str(process.cmdline())]


def test_each_failure_is_named_with_its_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "test_sometimes.py"
    file.write_text(TESTS, encoding="utf-8")

    status = flaky.main([str(file), "--runs", "2", "--busy", str(BUSY)])

    lines = capsys.readouterr().out.splitlines()
    (second,) = [line for line in lines if line.startswith("run 2 of 2")]
    assert status == 1
    assert second.endswith("test_sometimes.py::test_counts")
    assert "run 1 of 2: passed" in lines
    assert lines[-1].startswith("failed in 1 of 2 runs: ") and lines[-1].endswith("::test_counts")
    assert not busy()


def test_only_passed_runs_are_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "test_always.py"
    file.write_text("def test_passes(): pass\n", encoding="utf-8")

    assert flaky.main([str(file), "--runs", "1", "--busy", "0"]) == 0

    assert capsys.readouterr().out == "run 1 of 1: passed\n"


def test_a_run_that_breaks_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flaky.main([str(tmp_path / "test_missing.py"), "--runs", "1", "--busy", "0"]) == 1

    assert "failed in 1 of 1 runs: pytest ended with status 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "test"),
    [
        ("FAILED tests/unit/test_a.py::test_b - assert 1 == 2", "tests/unit/test_a.py::test_b"),
        ("FAILED tests/unit/test_a.py::test_b[a user] - assert", "tests/unit/test_a.py::test_b[a user]"),
        ("ERROR tests/unit/test_a.py::test_b - fixture", "tests/unit/test_a.py::test_b"),
        ("SUBFAILED(kind) tests/unit/test_a.py::test_b - assert", "tests/unit/test_a.py::test_b"),
        ("SUBFAILED[kind] tests/unit/test_a.py::test_b - assert", "tests/unit/test_a.py::test_b"),
    ],
)
def test_summary_lines_of_pytest_are_read(line: str, test: str) -> None:
    assert flaky.FAILURE.findall(f"before\n{line}\nafter") == [test]


def test_log_lines_of_errors_are_no_failed_tests() -> None:
    assert flaky.FAILURE.findall("ERROR    service.inventory.reader:reader.py:109 The inventory cannot be read") == []
