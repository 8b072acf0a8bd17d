"""What the program that restarts an OBProxy makes of one that is gone before it has begun."""

from typing import Any

import pytest
from obproxy_takeover.programs import restart
from obproxy_takeover.programs.start import Problem

HOME = "/opt/taobao/install/obproxy-4.3.1.0"


def wanted(*, hot: bool) -> dict[str, Any]:
    """For an OBProxy that has ended: no process was started at that time."""
    process = {"pid": 1, "started": -1, "home": HOME}
    return {"process": process, "watchdogs": [], "hot": hot, "sql_port": 2883, "seconds": 60}


@pytest.mark.parametrize(("hot", "comes", "how"), [(True, True, "hot"), (True, False, ""), (False, True, "")])
def test_a_hot_restart_that_was_quicker_counts(
    monkeypatch: pytest.MonkeyPatch, hot: bool, comes: bool, how: str
) -> None:
    asked = []

    def comes_up(process: dict[str, Any], port: int, seconds: float) -> bool:
        asked.append((process["directory"], port, seconds))
        return comes

    monkeypatch.setattr(restart, "comes_up", comes_up)
    if how:
        assert restart.restart(wanted(hot=hot)) == {"how": how}
    else:
        with pytest.raises(Problem, match="pid 1 does not run any more"):
            restart.restart(wanted(hot=hot))
    assert asked == ([(HOME, 2883, 60)] if hot else [])
