"""Waiting for an OBProxy that hands over to its successor."""

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.utils.display import Display
from ansible_collections.obproxy.takeover.plugins.action import obproxy_restart
from ansible_collections.obproxy.takeover.plugins.action.obproxy_restart import ActionModule
from ansible_collections.obproxy.takeover.plugins.module_utils.draining import exit_limit, wait_until_drained
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule

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


def waited(host: Host, limit: str, time_limit: float, used: float = 0) -> str:
    return wait_until_drained(host, PROCESS, 2883, {"hot_upgrade_exit_timeout": limit}, time_limit, used)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("60000000", 60), ("1500000", 1.5), ("0", 0), ("-1", None), ("", 30), ("1m", 30), (None, 30), ("9" * 400, 86400)],
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


@pytest.mark.parametrize(
    ("limit", "used", "steps"), [("-1", 12, [8]), ("5000000", 12, [8]), ("0", 1, [15]), ("-1", 21, [0])]
)
def test_earlier_waits_count(limit: str, used: float, steps: list[float], messages: list[str]) -> None:
    host = Host(drains_after=1000)

    message = waited(host, limit, 20, used)
    assert host.steps == steps and not messages
    assert message.endswith("; this subtask waits for that 20 s at the most") is (limit != "0")


def test_a_restart_waits_for_all_former_processes_within_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, drains_after = [1000.0], {1: 400.0, 2: 600.0}

    def run_program(_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        pid = arguments["process"]["pid"]
        taken = min(drains_after[pid], arguments["seconds"])
        clock[0] += taken
        drains_after[pid] -= taken
        return {"gone": drains_after[pid] == 0, "connections": 3}

    first, second = ({"pid": pid, "started": 1} for pid in drains_after)
    facts = {"sql_port": 2883, "parameters": {"hot_upgrade_exit_timeout": "-1"}, "draining": [first, second]}
    monkeypatch.setattr(ActionModule, "facts", facts)
    monkeypatch.setattr(obproxy_restart, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Display, "display", lambda *_: None)
    action = ActionModule.__new__(ActionModule)
    monkeypatch.setattr(action, "run_program", run_program)

    with pytest.raises(FailedRule) as failed:
        action._require_drained(420)
    assert (clock[0], drains_after) == (1420, {1: 0, 2: 580})
    assert failed.value.found.endswith("; this subtask waits for that 420 s at the most")
    assert action._wait_until_drained(second, 420)  # after the restart
    assert clock[0] == 1420
