"""The counts of the soak test find leftovers and growth."""

import subprocess
import tempfile
from collections.abc import Sequence

import pytest

from tests.bench import held


def test_leftovers_are_counted() -> None:
    before = held.count()
    with (
        tempfile.TemporaryDirectory(prefix="held-"),
        subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE) as process,
    ):
        after = held.count()
        process.kill()

    assert after["processes"] == before["processes"] + 1
    assert after["descriptors"] >= before["descriptors"] + 3
    assert set(before) == {"temporary files", "descriptors", "processes"}


def test_a_file_in_a_place_is_counted(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path_factory.mktemp("place")
    monkeypatch.setattr(held, "PLACES", (place,))
    (place / "pymp-x").mkdir()
    (place / "pymp-x" / "listener-x").touch()

    assert held.count()["temporary files"] == 2


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        ([100.0] * 8, False),
        ([100, 130, 100, 130, 100, 130, 100, 130], False),
        (range(100, 500, 50), True),
        ([5], False),
    ],
)
def test_growth_is_the_difference_of_the_last_quarter(values: Sequence[float], grows: bool) -> None:
    samples = [{"temporary files": value, "other": value} for value in values]

    assert bool(held.growing(samples, ["temporary files"])) is grows
