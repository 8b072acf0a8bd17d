"""A request's options in the context of its task instances; roles and callers know the keys."""

from typing import Any

import pytest

from service.model import tasks
from tests.unit.records import subtask, task

NOTHING = {"skips_host": False, "is_check": False, "allow_restart": None, "allows_cold_restart": False}


def test_the_keys_are_those_of_roles_and_callers() -> None:
    assert (tasks.ALLOW_RESTART, tasks.ALLOW_COLD_RESTART) == ("obproxy_allow_restart", "obproxy_allow_cold_restart")
    assert (tasks.RESTART_ID, tasks.SQL_PORT) == ("obproxy_restart_id", "sql_port")
    assert (tasks.SKIP_HOST, tasks.CHECK_MODE) == ("skip_host_operation", "check_mode")


@pytest.mark.parametrize(
    ("strings", "options"),
    [
        ({}, {}),
        ({"skip_host_operation": "true"}, {"skips_host": True}),
        ({"check_mode": "true"}, {"is_check": True}),
        ({"obproxy_allow_restart": "true"}, {"allow_restart": True}),
        ({"obproxy_allow_cold_restart": "true"}, {"allows_cold_restart": True}),
        (dict.fromkeys((tasks.SKIP_HOST, tasks.CHECK_MODE, tasks.ALLOW_COLD_RESTART), "false"), {}),
        ({"obproxy_allow_restart": "false"}, {"allow_restart": False}),
    ],
    ids=str,
)
def test_the_options_of_a_task_instance(strings: dict[str, str], options: dict[str, Any]) -> None:
    found = task(context={"listMap": {}, "stringMap": strings})
    assert {name: getattr(found, name) for name in NOTHING} == NOTHING | options


@pytest.mark.parametrize(("strings", "server_id"), [({}, None), ({"obproxy_server_id": "12"}, 12)])
def test_a_task_instance_keeps_the_id_of_its_server(strings: dict[str, str], server_id: int | None) -> None:
    found = task(context={"listMap": {}, "stringMap": strings}, obproxy_server_id=None)
    assert found.former_server_id == server_id


def test_a_task_instance_has_no_run_unless_the_database_reports_one() -> None:
    assert not task().has_run


def test_a_new_subtask_has_used_nothing_of_its_time_limit() -> None:
    assert subtask().spent == 0
