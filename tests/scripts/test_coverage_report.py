"""`make coverage` measures the pure rooms that import-linter knows, and fails when there is too little."""

from collections.abc import Sequence

import pytest

from scripts import coverage_report


def test_the_pure_rooms_are_files() -> None:
    found = {pattern: list(coverage_report.ROOT.glob(pattern)) for pattern in coverage_report.pure_rooms()}

    assert found and all(found.values()), found
    assert coverage_report.ROOT / "service/outcome/verdict.py" in found["service/outcome/*.py"]


@pytest.mark.parametrize(
    ("files", "of_all", "of_pure_rooms", "status"),
    [
        ([], coverage_report.LEAST_OF_ALL, 95.0, 0),
        ([], coverage_report.LEAST_OF_ALL - 0.1, 95.0, 1),
        ([], coverage_report.LEAST_OF_ALL, 94.9, 1),
        (["tests/unit"], 0.0, 95.0, 0),
        (["tests/unit"], 0.0, 94.9, 1),
        (["tests/lab/test_forked.py"], 0.0, 0.0, 0),
    ],
)
def test_too_little_fails(
    monkeypatch: pytest.MonkeyPatch, files: list[str], of_all: float, of_pure_rooms: float, status: int
) -> None:
    class Measured:
        """Stands in for Coverage: a second one in a process would replace the one that measures these tests."""

        def load(self) -> None:
            pass

        def report(self, include: Sequence[str] = ()) -> float:
            return of_pure_rooms if list(include) == coverage_report.pure_rooms() else of_all

    monkeypatch.setattr(coverage_report, "Coverage", Measured)

    assert coverage_report.main(files) == status


def test_the_limits_are_documented() -> None:
    text = " ".join((coverage_report.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    limits = coverage_report.LEAST_OF_ALL, coverage_report.LEAST_OF_PURE_ROOMS
    assert "together have less than {:.0f} % or the pure rooms less than {:.0f} %".format(*limits) in text
