"""The benchmarks run and say what they should; how fast anything is, is no matter of tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.model.settings import PROJECT
from tests.lab import Lab
from tests.lab.fixtures import StartHost

from . import accounting, contenders, delays
from .ground import check
from .harness import Plan
from .results import Goal, compare, table
from .views import VIEWS

DEADLINE = 180  # seconds


def test_the_cheapest_case_gives_results_of_the_right_shape(tmp_path: Path) -> None:
    output = tmp_path / "results.json"

    # A process of its own: it becomes the subreaper of what it starts.
    command = [sys.executable, "-m", "tests.bench", "--case", "answers", "--repetitions", "1", "--patience", "0"]
    command += ["--output", str(output)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(output.read_text())
    assert [row["goal"] for row in rows] == [{"at_most": ms, "of": "ours"} for ms in (15, 1500, 5)]
    for row in rows:
        assert row.keys() == {"name", "unit", "ours", "theirs", "ratio", "goal", "runs", "spread"}
        assert row["unit"] == "ms" and row["runs"] == [[row["ours"], row["theirs"]]]
        assert row["ours"] > 0 and row["ratio"] == pytest.approx(row["ours"] / row["theirs"])
        assert row["name"].split(" /")[0] in " ".join(done.stdout.split())
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", output.with_suffix(".html").read_text())
    assert {row["name"] for row in rows} <= set(drawn)


def test_the_asyncssh_script_does_all_that_a_takeover_does(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host(state="other-password")

    contenders.asyncssh_script(lab)([host])

    check(lab, [host])


def test_a_precheck_is_measured_against_a_takeover(tmp_path: Path) -> None:
    output = tmp_path / "results.json"

    command = [sys.executable, "-m", "tests.bench", "--case", "precheck", "--repetitions", "1", "--patience", "0"]
    command += ["--output", str(output)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE)

    assert done.returncode == 0, done.stdout + done.stderr
    names = [row["name"] for row in json.loads(output.read_text())]
    assert names[:2] == ["precheck / takeover: wall", "precheck / takeover: CPU"]


def test_delays_are_measured_in_all_views(
    tmp_path_factory: pytest.TempPathFactory, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path_factory.mktemp("delays")  # short: another process reaches the database's socket by its path
    monkeypatch.setattr(delays, "SIZES", (1, 3))
    monkeypatch.setattr(delays, "PACE", 0.02)
    said: list[str] = []

    results = delays.delays(directory, Plan(repetitions=1, patience=0, say=said.append))

    assert len(said) == 4 + 8, "the warm-up has one size"
    assert [result.name.split(":")[0] for result in results[:4:2]] == ["GET, 1 task instance", "GET, 3 task instances"]
    assert {result.name.split(",")[0] for result in results} == {view.name for view in VIEWS}
    assert all(result.ours > 0 and result.theirs > 0 for result in results)


def test_a_delay_ends_when_a_later_state_is_seen() -> None:
    times = delays.Times(total=3)
    times.changes = {(7, 1): 10.0, (7, 2): 11.0, (7, 3): 12.0, (8, 1): 12.0}
    for finished, at in ((0, 9.0), (2, 11.5), (1, 11.6), (3, 12.25)):
        times.note(7, finished, at)

    assert list(times.delays(only_ends=False)) == [1.5, 0.5, 0.25, None]
    assert list(times.delays(only_ends=True)) == [0.25]
    assert list(times.unseen(only_ends=False)) == [(8, 1)] and not times.unseen(only_ends=True)


def test_a_process_that_replaces_another_one_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service reads its inventory again each minute, into a process that stays."""
    monkeypatch.setattr(accounting, "SETTLE_DEADLINE", 0.0)
    running = [{1, 2, 4}, {1, 3}]
    monkeypatch.setattr(accounting, "_PAUSE", 0.0)
    monkeypatch.setattr(accounting, "running_descendants", lambda: running[0])
    with pytest.raises(TimeoutError, match="4"):
        accounting.settle({1, 2})
    monkeypatch.setattr(accounting, "running_descendants", lambda: running[1])
    accounting.settle({1, 2})


def test_a_result_is_of_medians_with_the_spread_of_single_ratios() -> None:
    result = compare("a / b", "s", [1.0, 9.0, 2.0], [2.0, 3.0, 4.0], Goal(at_most=0.6))

    assert (result.ours, result.theirs) == (2.0, 3.0)
    assert result.ratio == pytest.approx(2 / 3)
    assert result.spread == (0.5, 3.0)
    assert result.is_met is False
    assert compare("a", "ms", [4.0], [1.0], Goal(at_most=5, of="ours")).is_met is True
    assert table([result]).row_count == 1


def test_a_process_name_may_hold_parentheses() -> None:
    numbers = " ".join(str(number) for number in range(1, 50))

    entry = accounting.parse(f"17 (a) b (c)) Z {numbers}")

    assert (entry.pid, entry.name, entry.is_zombie, entry.parent) == (17, "a) b (c)", True, 1)
    assert entry.cpu == pytest.approx((11 + 12 + 13 + 14) / os.sysconf("SC_CLK_TCK"))


def test_the_usage_of_a_finished_child_is_counted(tmp_path: Path) -> None:
    before = accounting.cpu_seconds()

    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)

    assert accounting.cpu_seconds() - before >= 0.3
