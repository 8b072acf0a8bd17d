"""Progress in a pipe, in a terminal and as JSON; the exit status by outcome."""

import io
import re
import sys
from collections.abc import Iterator, Mapping

import pytest
from rich.text import Text

from service.cli.output import Format
from service.cli.watching import exit_with_outcome, follow

UPDATES = ({1: "a READY"}, {1: "a READY", 2: "b READY"}, {1: "a FAILED", 2: "b READY"}, {1: "a READY", 2: "b READY"})


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def show(output: Format, shown: list[int] | None = None) -> Mapping[int, str]:
    def display(lines: Mapping[int, str], rows: int) -> Text:
        if shown is not None:
            shown.append(rows)
        return Text("\n".join(lines.values()))

    def updates() -> Iterator[Mapping[int, str]]:
        yield from UPDATES

    return follow(updates(), output, display=display, lines=lambda lines: lines)


def test_a_pipe_gets_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(Format.TABLE) == UPDATES[-1]

    assert capsys.readouterr().out.splitlines() == ["a READY", "b READY", "a FAILED", "a READY"]


def test_json_is_silent_until_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(Format.JSON) == UPDATES[-1]

    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_display_of_the_rows_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, rows = Terminal(), list[int]()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("LINES", "30")

    assert show(Format.TABLE, rows) == UPDATES[-1]

    assert set(rows) == {26}
    last = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", terminal.getvalue()).split()
    assert last[-4:] == ["a", "READY", "b", "READY"]


@pytest.mark.parametrize(
    ("statuses", "expected", "code"),
    [
        (["SUCCESSFUL", "SUCCESSFUL"], None, 0),
        (["SUCCESSFUL", "FAILED"], None, 1),
        (["RUNNING"], None, 1),  # a rollout does not start it
        (["FAILED"], "FAILED", 0),
        (["SUCCESSFUL"], "FAILED", 1),
    ],
)
def test_the_exit_status_is_that_of_the_outcome(statuses: list[str], expected: str | None, code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_with_outcome([{"status": status} for status in statuses], expected=expected)

    assert int(ended.value.code or 0) == code
