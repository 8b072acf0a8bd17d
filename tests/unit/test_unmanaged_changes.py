"""Changes of an OBProxy between two discoveries that were not made through the service."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.outcome.unmanaged_changes import added, compared

FIRST, SECOND = "2026-01-02T03:04:05+00:00", "2026-01-02T09:04:05+00:00"
SERVER = {"pid": 7, "version": "4.3.1.0-1", "package": None, "home": "/a", "owner": "admin", "supervised": True}


def change(name: str, before: str | None, after: str | None, what: str = "parameter", seen: str = FIRST) -> Any:
    return {"what": what, "name": name, "before": before, "after": after, "seen": seen}


def test_a_discovery_that_finds_the_same_reports_nothing() -> None:
    parameters = {"work_thread_num": "4"}
    assert compared(SERVER, parameters, SERVER | {"parameters": parameters}, FIRST) == []


def test_changes_of_the_process_and_its_program_are_found() -> None:
    found = SERVER | {"pid": 8, "version": "4.3.2.0-1", "package": "obproxy-4.3.2.0-1", "supervised": False}
    found |= {"home": "/b", "owner": "ops"}
    assert compared(SERVER, {}, found, FIRST) == [
        change("obproxy", "4.3.1.0-1", "4.3.2.0-1", "version"),
        change("obproxy", None, "obproxy-4.3.2.0-1", "package"),
        change("obproxy", "/a", "/b", "home"),
        change("obproxy", "admin", "ops", "owner"),
        change("obproxy", "supervised", "not supervised", "supervisor"),
        change("obproxy", "pid 7", "pid 8", "process"),
    ]


def test_only_known_parameters_that_the_user_can_set_are_compared() -> None:
    former = {"a": "1", "gone": "1", "json_config_version": "1", "current_local_config_version": "1", "same": ""}
    former |= {"proxy_local_cmd": "a"}
    values = {"a": "2", "new": "1", "json_config_version": "2", "current_local_config_version": "2", "same": ""}
    values |= {"proxy_local_cmd": "b"}
    definitions = {"a": ["", False, "", False], "json_config_version": ["", False, "", True]}
    found = {"parameters": values, "parameter_definitions": definitions}
    assert compared({}, former, found, FIRST) == [change("a", "1", "2")]


def test_facts_that_a_discovery_could_not_read_are_not_compared() -> None:
    assert compared(SERVER, {"a": "1"}, {"pid": 7}, FIRST) == []
    assert compared({}, {}, SERVER | {"parameters": {"a": "1"}}, FIRST) == []


def test_a_change_keeps_its_first_value_and_ends_when_it_is_undone() -> None:
    known = [change("a", "1", "2"), change("b", "1", "2")]
    again = [change("a", "2", "3", seen=SECOND), change("b", "2", "1", seen=SECOND), change("c", "1", "2", seen=SECOND)]
    assert added(known, again) == [change("a", "1", "3", seen=SECOND), change("c", "1", "2", seen=SECOND)]
    assert added(known, []) == known


def test_the_number_of_changes_is_limited() -> None:
    assert len(added([], [change(f"p{number}", "1", "2") for number in range(501)])) == 500


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"), min_size=3), min_size=2))
def test_the_changes_lead_from_the_first_values_to_the_last(discoveries: list[dict[str, str]]) -> None:
    changes: Any = []
    for former, found in itertools.pairwise(discoveries):
        changes = added(changes, compared({}, former, {"parameters": found}, FIRST))
    first, last = discoveries[0], discoveries[-1]
    assert {one["name"]: (one["before"], one["after"]) for one in changes} == {
        name: (first[name], last[name]) for name in first if first[name] != last[name]
    }
