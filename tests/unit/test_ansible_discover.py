"""The discovery action reads an OBProxy that answers otherwise than expected."""

from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.action.obproxy_discover import ActionModule
from ansible_collections.obproxy.takeover.plugins.module_utils.action import SECRETS
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Session

GOOD = {"name": "listen_port", "value": "2883", "need_reboot": "true", "info": "", "cluster_name": "ob"}


@pytest.mark.parametrize("missing", ["name", "value", "need_reboot", "info", "cluster_name"])
def test_a_response_without_a_column_is_no_reading(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    rows: list[dict[str, Any]] = [GOOD]
    monkeypatch.setattr(Session, "rows", lambda _self, _statement: rows)
    monkeypatch.setattr(ActionModule, "secrets", lambda _self: dict.fromkeys(SECRETS))
    action = ActionModule.__new__(ActionModule)
    session = Session.__new__(Session)
    assert action._read(session, "cluster")["login"] == "cluster"

    rows[:] = [{name: value for name, value in GOOD.items() if name != missing}]
    read = action._read(session, "cluster")
    assert read["login"] == "unreachable"
    assert read["login_error"].startswith(f"a response has no column '{missing}'")
