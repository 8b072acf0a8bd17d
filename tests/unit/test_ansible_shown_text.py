"""Output and command lines are cut so that no part of a secret remains, which masking would not find."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import hiding
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import limited_command, listeners, shown_text
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.converge import Problem, run
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.shown_text import first_words, last_lines

SECRET = "correct horse battery staple"
mask = hiding([SECRET])


def _from_command(output: str, tmp_path: Path) -> str:
    (tmp_path / "output").write_text(output)
    script = f"cat {tmp_path}/output >&2; exit 1"
    return limited_command.output(limited_command.start_command(["sh", "-c", script]), time.monotonic() + 30)[2]


def _from_converge(output: str, tmp_path: Path) -> str:
    (tmp_path / "output").write_text(output)
    with pytest.raises(Problem) as failed:
        run([["sh", "-c", f"cat {tmp_path}/output; exit 1"]], 30)
    return str(failed.value)


@pytest.mark.parametrize("shown", [lambda output, _: last_lines(output), _from_command, _from_converge])
def test_no_part_of_a_secret_remains_in_output(shown: Callable[[str, Path], str], tmp_path: Path) -> None:
    for before_end in range(shown_text.LINES_LIMIT - len(SECRET) - 10, shown_text.LINES_LIMIT + 10, 7):
        for end in ("\n" + "x" * (before_end - 1), "x" * before_end):
            text = mask(shown(f"first line\nurl {SECRET}{end}\n", tmp_path))
            assert text.endswith("x") and "staple" not in text and "horse" not in text


def test_the_last_lines_within_the_limit_are_shown() -> None:
    assert last_lines("  a\nb\r\nc\n\n") == "a\nb\r\nc"
    lines = ["x" * 100] * 6
    assert last_lines("\n".join(lines)) == "\n".join(lines[:4])
    assert last_lines("\n".join([*lines[:4], "x" * 96])) == "\n".join([*lines[:4], "x" * 96])
    assert last_lines("\n".join([*lines[:4], "x" * 97])) == "\n".join([*lines[:3], "x" * 97])
    assert last_lines("") == ""


def test_a_last_line_is_shown_whole_or_not_at_all() -> None:
    assert last_lines("a\n" + "x" * 4000) == "x" * 4000
    assert last_lines("a\n" + "x" * 4001) == "a line of 4001 characters"


@pytest.mark.parametrize(
    ("words", "limit", "shown"),
    [
        (["./obproxy", "-p", "2883"], 17, "./obproxy -p 2883"),
        (["./obproxy", "-p", "2883"], 16, "./obproxy -p …"),
        (["./obproxy", SECRET, "2883"], 8, "…"),
        ([], 8, ""),
    ],
)
def test_command_lines_are_cut_between_words(words: list[str], limit: int, shown: str) -> None:
    assert first_words(words, limit) == shown


@pytest.mark.parametrize(
    ("key", "limit"), [("cmdline", listeners.TEXT_LIMIT), ("cmdline_start", listeners.MESSAGE_LIMIT)]
)
def test_no_part_of_an_argument_remains_in_a_command_line(
    key: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ["./obproxy", "-o", "obproxy_sys_password=a b,x=1"]
    shown = "./obproxy -o obproxy_sys_password=***,x=1"
    padding = "x" * (limit - len(shown) - len(SECRET) // 2)
    usual = listeners.read
    arguments = "\0".join([*before, padding, SECRET])
    monkeypatch.setattr(listeners, "read", lambda path, *_: arguments if path.endswith("/cmdline") else usual(path))
    found = listeners.process(os.getpid(), [Path(sys.executable).resolve().name])
    assert found and found[key] == f"{shown} {padding} …"
