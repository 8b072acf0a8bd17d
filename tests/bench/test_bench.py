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

from . import accounting, contenders
from .ground import check
from .results import Goal, compare, table

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
