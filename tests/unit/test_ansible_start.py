"""The start action adopts a running OBProxy by the login of the discovery."""

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.action.obproxy_start import ActionModule
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule

FACTS: dict[str, Any] = {
    "running": True,
    "sql_port": 2883,
    "login_error": None,
    "parameters": {"listen_port": "2883"},
    "pending_restart": [],
    "supervised": True,
    "process": {"pid": 7},
}


def _adopt(monkeypatch: pytest.MonkeyPatch, login: str) -> dict[str, Any]:
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(check_mode=False)
    monkeypatch.setattr(ActionModule, "facts", FACTS | {"login": login})
    return dict(action.act({"state": "started", "allow": False}))


@pytest.mark.parametrize("login", ["given", "cluster", "recorded", "empty"])
def test_every_valid_password_is_a_login(monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    assert _adopt(monkeypatch, login)["changed"] is False


@pytest.mark.parametrize("login", ["denied", "unreachable", "untried"])
def test_an_obproxy_without_a_login_is_not_healthy(monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    with pytest.raises(FailedRule, match="answers root@proxysys at its SQL port") as failed:
        _adopt(monkeypatch, login)
    assert failed.value.found.startswith(f"login: {login} ")
