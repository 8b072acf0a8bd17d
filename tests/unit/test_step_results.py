"""The results of several actions, merged into the result of one Ansible task."""

from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.step_results import merged

RULE = {"rule": "It holds", "found": "it does not", "fix": "make it hold"}


def test_changes_and_messages_of_all_steps_are_reported() -> None:
    first = {"changed": True, "msg": "one", "changes": [1], "diff": {"after": "a"}, "obproxy_server": {"pid": 1}}
    first["ansible_facts"] = {"color": "red", "size": 1}
    second = {"changed": False, "msg": "two", "changes": [2], "diff": [{"after": "b"}], "obproxy_server": None}
    second["ansible_facts"] = {"color": "green"}
    assert merged([first, second]) == {
        "changed": True,
        "msg": "one\ntwo",
        "changes": [1, 2],
        "diff": [{"after": "a"}, {"after": "b"}],
        "obproxy_server": {"pid": 1},
        "ansible_facts": {"color": "green", "size": 1},
    }


@pytest.mark.parametrize("kind", ["unreachable", "failed", "findings", "unchecked"])
def test_only_the_worst_steps_give_the_message(kind: str) -> None:
    value = [RULE] if kind == "findings" else True
    whole = merged([{"msg": "good"}, {"msg": "bad", kind: value}])
    assert (whole["msg"], whole["other_messages"], whole[kind]) == ("bad", ["good"], value)


@pytest.mark.parametrize(
    ("results", "whole"),
    [
        ([], {}),
        ([{}, {"msg": ""}], {"msg": ""}),
        ([{"rc": 1}, {"rc": 2, "changed": True}], {"changed": True, "rc": 2}),
        ([{"findings": [1], "stays": [2]}, {"findings": [3], "stays": [4]}], {"findings": [1, 3], "stays": [2, 4]}),
        ([{"diff": {"after": "a"}}, {"msg": "two"}], {"diff": {"after": "a"}, "msg": "two"}),
        ([{"diff": [1, 2]}, {"diff": [3]}], {"diff": [1, 2, 3]}),
        ([{"diff": 1}, {}, {"diff": 2}], {"diff": [1, 2]}),
        ([{"failed": True, "msg": "a"}, {"failed": True, "msg": "b"}, {}], {"failed": True, "msg": "a\nb"}),
        ([{"failed": True}, {"msg": "fine"}], {"failed": True, "msg": "fine", "other_messages": ["fine"]}),
    ],
    ids=str,
)
def test_the_result_of_all_steps(results: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    assert merged(results) == {"changed": False} | whole


def test_the_worst_kind_counts_when_steps_differ() -> None:
    kinds = ["unchecked", "findings", "failed", "unreachable"]
    results = [{"msg": kind, kind: [RULE]} for kind in kinds]
    for count, worst in enumerate(kinds, start=1):
        assert merged(results[:count])["msg"] == worst
