"""The restart program judges a hot restart by the process that responds at the port."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.action.obproxy_restart import ActionModule
from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction
from ansible_collections.obproxy.takeover.plugins.module_utils.changes import process_change
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import restart
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.start import Problem
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import SqlError

HOME = "/opt/taobao/install/obproxy-4.3.1.0"
OLD, NEW = 1, 2
WANTED = {
    "process": {"pid": OLD, "started": 7},
    "home": HOME,
    "way": "hot",
    "sql_port": 2883,
    "seconds": 1,
    "order_seconds": 1,
}
Host = list[tuple[int | None, bool, list[int]]]


def see(monkeypatch: pytest.MonkeyPatch, looks: Host) -> None:
    """Let the host show, look by look: who answers, whether the old one runs, its successors; then the last again."""
    now = iter(looks)
    state = {"at": looks[0]}

    def answers(_home: str, _port: int) -> int | None:
        state["at"] = next(now, state["at"])
        return state["at"][0]

    monkeypatch.setattr(restart, "answering_in_home", answers)
    monkeypatch.setattr(restart, "is_unchanged", lambda _process: state["at"][1])
    monkeypatch.setattr(restart, "children_of", lambda _pid, _home: state["at"][2])
    monkeypatch.setattr(restart, "proxies_in", lambda _home: state["at"][2] or ([OLD] if state["at"][1] else []))
    monkeypatch.setattr(restart, "POLL_INTERVAL", 0)
    monkeypatch.setattr(restart, "START_GRACE", 0)


@pytest.mark.parametrize(
    ("looks", "how"),
    [
        ([(NEW, False, [])], {"how": "hot", "pid": NEW}),  # over before this program has begun
        ([(OLD, True, []), (None, True, [NEW]), (NEW, True, [NEW])], {"how": "hot", "pid": NEW}),  # the old one drains
        ([(OLD, True, []), (None, True, [NEW]), (OLD, True, [])], {"how": "kept", "pid": OLD}),  # the new one has died
        ([(OLD, True, [])], {"how": "kept", "pid": OLD}),  # the order was never looked at
        ([(None, True, [NEW]), (None, False, [])], {"how": "down"}),
        ([(None, True, [])], {"how": "stuck"}),
    ],
)
def test_the_outcome_of_a_hot_restart(monkeypatch: pytest.MonkeyPatch, looks: Host, how: dict[str, Any]) -> None:
    see(monkeypatch, looks)
    assert restart.wait_for_hot_restart(WANTED) == how


def test_nothing_is_ended_when_a_hot_restart_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, [(OLD, True, [NEW]), (OLD, True, [])])
    for name in ("terminate", "stop_all", "relaunch"):
        monkeypatch.setattr(restart, name, lambda *_: pytest.fail("something was ended or started"))
    assert restart.restart(WANTED) == {"how": "kept", "pid": OLD}


def _restart_by_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, systemctl: str) -> int | None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\n{systemctl}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(restart, "wait_until_up", lambda _wanted, besides: NEW if besides == (OLD,) else None)
    return restart.restart_by_supervisor(WANTED | {"supervisor": {"kind": "systemd", "unit": "odp.service"}})


def test_an_obproxy_whose_unit_cannot_be_restarted_keeps_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it is stopped and started with its former values, which disconnects its clients."""
    with pytest.raises(Problem, match=r"restart odp\.service has failed; pid 1 was not restarted$"):
        _restart_by_systemd(tmp_path, monkeypatch, "exit 1")


def test_a_unit_is_restarted_without_waiting_for_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _restart_by_systemd(tmp_path, monkeypatch, '[ "$*" = "--no-block restart odp.service" ]') == NEW


class Clock:
    """The time of a host on which each wait takes as long as it may."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def take(self, seconds: float, answer: Any = None) -> Any:
        self.now += seconds
        return answer


@pytest.mark.parametrize(
    ("kind", "takes", "how"),
    [
        *[(kind, (1000, 1000), "down") for kind in ("", "systemd", "obd")],
        *[(kind, (115, 25), "back") for kind in ("", "systemd", "obd")],
        *[(kind, (115, 115), "down") for kind in ("systemd", "obd")],
    ],
)
def test_a_restart_and_its_undo_end_in_time(
    monkeypatch: pytest.MonkeyPatch, kind: str, takes: tuple[int, int], how: str
) -> None:
    """Each stop needs SIGKILL, the new values prevent a start, and the starts of the undo take some seconds."""
    clock, seconds, watchdog = Clock(), 120, {"pid": 5, "record": "/run/x"}
    state = {"process": {"pid": OLD, "started": 7}, "arguments": ["obproxy"], "user": {"uid": 1}}
    undoing = list[float]()  # the times of its starts

    def begin(arguments: list[str]) -> str:
        is_undo = "-o" in arguments or undoing
        if is_undo and "stop" not in arguments:
            undoing.append(clock.now)
        return ""

    def answers(*_: object) -> int | None:
        clock.now += 1
        is_up = undoing and clock.now > undoing[-1] + takes[len(undoing) - 1]
        return NEW + len(undoing) if is_up else None

    fakes: dict[str, Any] = {
        "time": clock,
        "terminate": lambda _pid, limit: clock.take(limit, True),
        "listens": lambda _port: False,
        "answering_in_home": answers,
        "relaunch": lambda _process, arguments: begin(arguments),
        "launch_state": lambda _process: state,
        "watchdogs_of": lambda *_: [watchdog] if kind == "obd" else [],
        "proxies_in": lambda _home: [OLD],
        "run_command": lambda _command: clock.take(10, (0, "")),
        "command_output": lambda command: clock.take(10, begin(command)),
        "run_as": lambda *_, **__: clock.take(10),
        "is_unchanged": lambda _process: True,
        "identity": lambda _pid: {},
        "start_problems": lambda _pid, wanted, _draining: clock.take(wanted["seconds"], []),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(restart, name, fake)
    supervisor = {"kind": kind, "unit": "x" if kind == "systemd" else ""}
    wanted = WANTED | {"way": "supervisor" if kind else "cold", "supervisor": supervisor, "seconds": seconds}
    answer = restart.restart(wanted | {"identity": {}, "homes": [HOME], "former": {"a": "1"}, "app_name": ""})
    assert answer["how"] == how
    assert seconds < clock.now <= 2 * seconds + restart.BESIDES_STARTS


@pytest.mark.parametrize("check_mode", [True, False])
def test_an_obproxy_whose_program_cannot_be_started_keeps_running(
    monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    process = {"pid": OLD, "cmdline_start": "obproxy -p 2883", "owner": "admin", "home": HOME}
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(check_mode=check_mode)
    action._found = {"starts": False}
    monkeypatch.setattr(ActionModule, "facts", {"process": process})
    monkeypatch.setattr(action, "run_program", lambda *_: pytest.fail("something was changed"))
    with pytest.raises(FailedRule) as failed:
        action._act_on([], [], {})
    assert "pid 1 (obproxy -p 2883) with the option -V fails as admin" in failed.value.found


def test_a_statement_that_fails_is_a_failed_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that reads the values which wait for a restart."""
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(check_mode=False)
    monkeypatch.setattr(HostAction.__base__, "run", lambda *_: {})
    monkeypatch.setattr(action, "validate_argument_spec", lambda _spec: (None, {}))
    monkeypatch.setattr(action, "secrets", lambda: {"obproxy_sys_password": "Needle#1"})

    def lose(_arguments: object) -> dict[str, Any]:
        action.changes.append(process_change({"pid": OLD}, NEW))
        raise SqlError(2013, "the connection was lost: Needle#1")

    monkeypatch.setattr(action, "act", lose)
    result = action.run(task_vars={})
    assert result["failed"] and "the connection was lost: *** (code 2013)" in result["msg"]
    assert [change["what"] for change in result["changes"]] == ["process"]


def test_a_direct_run_without_a_permission_names_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    action = ActionModule.__new__(ActionModule)
    monkeypatch.setattr(ActionModule, "facts", {"running": True, "login": "cluster", "done": {}})
    action._task = SimpleNamespace(check_mode=False)

    with pytest.raises(FailedRule) as failed:
        action.act({"state": "restarted", "restart_id": "", "allow": False, "desired": {}})
    assert "obproxy_allow_restart is not true" in failed.value.found
    assert "-e obproxy_allow_restart=true" in failed.value.fix


def test_another_program_at_the_port_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, [(NEW, True, [NEW])])
    was = {"executable": f"{HOME}/bin/obproxy", "home": HOME, "namespaces": ["net:[1]"]}
    monkeypatch.setattr(restart, "identity", lambda _pid: was | {"executable": "/tmp/obproxy"})
    monkeypatch.setattr(restart, "start_problems", lambda *_: pytest.fail("it is not the expected one"))
    problems = restart.restart(WANTED | {"identity": was})["problems"]
    assert problems == [f"its executable is /tmp/obproxy, it was {HOME}/bin/obproxy"]


@pytest.mark.parametrize(
    ("answer", "after"),
    [({"how": "down"}, None), ({"how": "down", "pid": None}, None), ({"how": "back", "pid": NEW}, f"pid {NEW}")],
    ids=["hot", "cold", "former values"],
)
def test_a_failed_restart_reports_the_process_that_it_has_ended(answer: dict[str, Any], after: str | None) -> None:
    action = ActionModule.__new__(ActionModule)
    action.changes = []
    with pytest.raises(FailedRule):
        action._read_effect(answer, {"pid": OLD}, [], {}, 1)
    assert [(change["what"], change["before"], change["after"]) for change in action.changes] == [
        ("process", f"pid {OLD}", after)
    ]


@pytest.mark.parametrize("login", ["denied", "unreachable", "untried"])
def test_a_restart_whose_effect_cannot_be_read_has_failed(login: str) -> None:
    new = {"process": {"pid": NEW}, "sql_port": 2883, "login": login, "login_error": "why"}
    with pytest.raises(FailedRule) as failed:
        ActionModule.__new__(ActionModule)._require_effect({"how": "hot", "pid": NEW}, new, {})
    assert failed.value.found == "after the hot restart root@proxysys cannot log in: why"
