"""`make coverage` measures the pure rooms that import-linter knows, and fails when they have too little."""

from collections.abc import Sequence
from typing import Any

import pytest
from coverage import Coverage

from scripts import coverage_report


def test_the_pure_rooms_are_files() -> None:
    found = {pattern: list(coverage_report.ROOT.glob(pattern)) for pattern in coverage_report.pure_rooms()}

    assert found and all(found.values()), found
    assert coverage_report.ROOT / "service/outcome/verdict.py" in found["service/outcome/*.py"]


@pytest.mark.parametrize(("percent", "status"), [(94.9, 1), (95.0, 0)])
def test_too_little_fails(monkeypatch: pytest.MonkeyPatch, percent: float, status: int) -> None:
    def report(_: Any, include: Sequence[str] = ()) -> float:
        return percent if list(include) == coverage_report.pure_rooms() else 0.0

    monkeypatch.setattr(Coverage, "load", lambda _: None)
    monkeypatch.setattr(Coverage, "report", report)

    assert coverage_report.main() == status
