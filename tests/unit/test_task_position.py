"""The position of an Ansible task in its play: its subtask, its blocks, and the host that it is delegated to."""

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.task_position import (
    BLOCK_LIMIT,
    delegate_of,
    position,
    subtask_of,
)


def role(name: str, *tags: str) -> Any:
    return SimpleNamespace(_role_name=name, tags=list(tags))


def include(name: str, *tags: str, parent: Any = None) -> Any:
    return SimpleNamespace(_uuid=f"include {name}", _role_name=name, tags=list(tags), _parent=parent)


def block(uuid: str, parent: Any = None, **sections: Any) -> Any:
    return SimpleNamespace(_uuid=uuid, _parent=parent, **{"rescue": [], "always": []} | sections)


def task(parent: Any = None, of: Any = None) -> Any:
    return SimpleNamespace(_uuid="task", _parent=parent, _role=of)


ONE, TWO = role("one", "one"), role("two", "two")


@pytest.mark.parametrize(
    ("found", "subtask"),
    [
        (task(), ""),
        (task(of=ONE), "one"),
        (task(of=role("obproxy.takeover.one", "x", "one")), "one"),
        (task(of=role("one", "other")), ""),
        (SimpleNamespace(_uuid="task", _role=SimpleNamespace(_role_name="one", tags=None)), ""),
        (task(block("b", _dep_chain=[ONE, TWO]), of=TWO), "one"),  # a dependency of the role
        (task(block("b", _dep_chain=None, _role=ONE), of=TWO), "one"),
        (task(include("two", "two", parent=include("one", "one")), of=TWO), "one"),  # an include in a role
        (task(block("b", parent=include("one", "one")), of=TWO), "one"),
    ],
)
def test_the_subtask_is_the_role_that_the_play_names(found: Any, subtask: str) -> None:
    assert subtask_of(found) == subtask


def test_blocks_are_listed_with_the_section_that_holds_the_task() -> None:
    found = task(of=ONE)
    inner = block("inner", always=[SimpleNamespace(_uuid="cleanup")])
    plain = block("plain")
    outer = block("outer", rescue=[SimpleNamespace(_uuid="other"), plain], always=[task()])
    found._parent, inner._parent, plain._parent = inner, plain, outer

    assert position(found) == {"subtask": "one", "blocks": ["outer rescue", "inner block"]}

    last = block("last", always=[found])
    found._parent = last
    assert position(found)["blocks"] == ["last always"]


def test_the_outermost_blocks_are_listed_when_there_are_many() -> None:
    found = None
    for number in range(BLOCK_LIMIT + 1):
        found = block(str(number), parent=found, rescue=[SimpleNamespace(_uuid="other")])

    assert BLOCK_LIMIT == 50
    assert position(task(found))["blocks"] == [f"{number} block" for number in range(50)]


@pytest.mark.parametrize(("delegate", "host"), [("h2", "h2"), (None, ""), ("", ""), ("{{ item }}", "")])
def test_the_host_that_a_task_is_delegated_to(delegate: str | None, host: str) -> None:
    assert delegate_of(SimpleNamespace(task=SimpleNamespace(delegate_to=delegate))) == host


def test_a_task_that_cannot_be_delegated() -> None:
    assert delegate_of(SimpleNamespace(task=SimpleNamespace())) == ""
