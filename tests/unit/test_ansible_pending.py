"""The parameters that wait for a restart stay known when a change fails halfway."""

from contextlib import nullcontext
from typing import Self

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import Difference
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import SqlError

LOST = SqlError(2013, "Lost connection")


class _Proxy:
    """Replaces a session: fails at some statements, counted from 0, and stores the values of the others."""

    def __init__(self, failures: dict[int, SqlError], executed: bool) -> None:
        self.failures, self.executed, self.statements = failures, executed, 0
        self.values: dict[str, str] = {}

    def alter(self, name: str, value: str) -> None:
        failure = self.failures.get(self.statements)
        self.statements += 1
        if failure is None or self.executed:
            self.values[name] = value
        if failure is not None:
            raise failure

    def parameter(self, name: str) -> str:
        return self.values[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _set(
    monkeypatch: pytest.MonkeyPatch, proxy: _Proxy, former: list[str], pending: list[str]
) -> tuple[list[str], FailedRule]:
    """Set a and b, which need a restart, and c; return the list that is stored at the end, and the error."""
    stored = [former]
    action = HostAction.__new__(HostAction)
    action.changes = []
    monkeypatch.setattr(HostAction, "facts", {"pending_restart": former})
    monkeypatch.setattr(action, "_write_pending", lambda names, _known: stored.append(names))
    monkeypatch.setattr(action, "tunnels", nullcontext)
    monkeypatch.setattr(action, "admin_session", lambda _tunnels: ("cluster", "", proxy))
    monkeypatch.setattr(action, "require_same_process", lambda _session: None)
    todo = [Difference(name=name, before="1", after="2", needs_restart=name != "c") for name in "abc"]
    with pytest.raises(FailedRule) as failed:
        action.set_parameters(todo, pending)
    return stored[-1], failed.value


def test_restored_values_wait_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = _Proxy({2: SqlError(4147, "Invalid config")}, executed=False)
    stored, error = _set(monkeypatch, proxy, ["x"], ["a", "b", "x"])
    assert stored == ["x"] and proxy.values == {"a": "1", "b": "1"}
    assert "the values set before it were restored" in error.fix


def test_values_that_could_not_be_restored_still_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = _Proxy({2: SqlError(4147, "Invalid config"), 4: LOST}, executed=False)  # the statement that restores a
    stored, error = _set(monkeypatch, proxy, ["x"], ["a", "b", "x"])
    assert stored == ["a", "x"] and proxy.values == {"a": "2", "b": "1"}
    assert "not restored: a" in error.found and "were not restored" in error.fix


def test_a_value_that_may_be_set_when_the_connection_is_lost_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = dict.fromkeys(range(1, 9), LOST)
    stored, error = _set(monkeypatch, _Proxy(lost, executed=True), [], ["a", "b"])
    assert stored == ["a", "b"] and "not restored: b, a" in error.found


def test_a_rollback_s_value_that_could_not_be_set_back_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has never used another value, so it does not wait for a restart."""
    lost = dict.fromkeys(range(1, 9), LOST)
    assert _set(monkeypatch, _Proxy(lost, executed=False), ["a", "x"], ["x"])[0] == ["x"]
