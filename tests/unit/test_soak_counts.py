"""The counts of the soak test find leftovers and growth."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench import held

ROOT = Path(__file__).parents[2]


# Not in this process: services that other tests have started open and close descriptors meanwhile.
COUNT_TWICE = """
import json, subprocess, tempfile
from tests.bench import held
before = held.count()
with tempfile.TemporaryDirectory(prefix="held-"), subprocess.Popen(["cat"], stdin=subprocess.PIPE):
    print(json.dumps([before, held.count()]))
"""


def test_leftovers_are_counted() -> None:
    printed = subprocess.run([sys.executable, "-c", COUNT_TWICE], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    before, after = json.loads(printed)

    assert (before["processes"], before["descriptors"]) == (0, 0)
    assert after["processes"] == 1
    assert after["descriptors"] >= 3
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
