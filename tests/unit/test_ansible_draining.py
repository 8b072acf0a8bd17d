"""Waiting for an OBProxy that hands over to its successor."""

from typing import Any

import pytest
from ansible.utils.display import Display
from ansible_collections.obproxy.takeover.plugins.module_utils.draining import exit_limit, wait_until_drained

PROCESS = {"pid": 7, "started": 100, "home": "/opt/obproxy"}


class Host:
    """Answers like the program `drain`: the process is gone after some seconds."""

    def __init__(self, drains_after: float) -> None:
        self.left = drains_after
        self.steps: list[float] = []

    def run_program(self, name: str, arguments: dict[str, Any]) -> dict[str, object]:
        seconds = arguments.pop("seconds")
        assert (name, arguments) == ("drain", {"process": {"pid": 7, "started": 100}, "sql_port": 2883})
        self.steps.append(seconds)
        self.left -= seconds
        return {"gone": self.left <= 0, "connections": 3}


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(Display, "display", lambda _, text: shown.append(text))
    return shown


def waited(host: Host, limit: str, time_limit: float) -> str:
    return wait_until_drained(host, PROCESS, 2883, {"hot_upgrade_exit_timeout": limit}, time_limit)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("60000000", 60), ("1500000", 1.5), ("0", 0), ("-1", None), ("", 30), ("1m", 30), (None, 30)],
)
def test_the_limit_is_a_parameter_in_microseconds(value: str | None, seconds: float | None) -> None:
    assert exit_limit({} if value is None else {"hot_upgrade_exit_timeout": value}) == seconds


def test_progress_is_shown_until_the_process_has_exited(messages: list[str]) -> None:
    host = Host(drains_after=40)

    assert waited(host, "60000000", 100) == ""
    assert host.steps == [15, 15, 15]
    assert messages == [
        f"pid 7 still serves 3 connections, for {left} s at the most (hot_upgrade_exit_timeout)" for left in (45, 30)
    ]


def test_a_process_that_stays_beyond_its_own_limit_is_reported(messages: list[str]) -> None:
    host = Host(drains_after=1000)

    message = waited(host, "5000000", 100)
    assert message == "pid 7 still serves 3 connections, for 0 s at the most (hot_upgrade_exit_timeout)"
    assert host.steps == [15, 5]  # the limit, and a margin
    assert len(messages) == 1


@pytest.mark.parametrize(
    ("limit", "left"),
    [("-1", "as long as they last (hot_upgrade_exit_timeout is -1)"), ("85000000", "for 65 s at the most")],
)
def test_the_time_limit_of_a_subtask_ends_the_wait(limit: str, left: str, messages: list[str]) -> None:
    host = Host(drains_after=1000)

    message = waited(host, limit, 20)
    assert message.startswith(f"pid 7 still serves 3 connections, {left}")
    assert message.endswith("; this subtask waits for that 20 s at the most")
    assert host.steps == [15, 5]
