"""Finds the position of an Ansible task in its play: its subtask and its blocks.

The role of an Ansible task is not sufficient: a role may include, import or depend on the role of another subtask.
"""

from collections.abc import Iterator
from typing import Any

BLOCK_LIMIT = 50  # blocks that are reported for an Ansible task, the outermost first
SECTIONS = ("rescue", "always")


def position(task: Any) -> dict[str, Any]:
    """Return the position of an Ansible task as data of an event."""
    return {"subtask": subtask_of(task), "blocks": blocks_of(task)}


def subtask_of(task: Any) -> str:
    """Return the subtask of an Ansible task, empty when it has none.

    A subtask is a role that the play itself names, as an import, as an include or under `roles`, with a tag of the
    same name. Roles that this role includes, imports or depends on belong to it.
    """
    entry = next(filter(None, map(_entry, reversed(list(_lineage(task))))), None)
    if entry is None:
        return ""
    name = str(entry._role_name).rpartition(".")[2]
    return name if name in (entry.tags or ()) else ""


def blocks_of(task: Any) -> list[str]:
    """Return the blocks with `rescue` or `always` around an Ansible task, the outermost first.

    Each is its id and the section: `ID block`, `ID rescue` or `ID always`.
    """
    found: list[str] = []
    inner: set[str] = set()
    for node in _lineage(task):
        if any(getattr(node, section, None) for section in SECTIONS):
            found.append(f"{node._uuid} {_section(node, inner)}")
        inner.add(node._uuid)
    return found[::-1][:BLOCK_LIMIT]


def delegate_of(result: Any) -> str:
    """Return the host that an Ansible task is delegated to, empty if there is none.

    A result names it only if that host was reached. In a loop it is an untemplated text: each item has its own.
    """
    name = str(getattr(result.task, "delegate_to", None) or "")
    return "" if "{{" in name else name


def _lineage(task: Any) -> Iterator[Any]:
    while task is not None:
        yield task
        task = getattr(task, "_parent", None)


def _entry(node: Any) -> Any:
    """Return the include or role through which `node` is in the play; None if the play itself contains it."""
    if hasattr(node, "_role_name"):
        return node
    chain = getattr(node, "_dep_chain", None)  # the roles that led to this block, the outermost first
    return chain[0] if chain else getattr(node, "_role", None)


def _section(block: Any, inner: set[str]) -> str:
    holds = (name for name in SECTIONS if any(node._uuid in inner for node in getattr(block, name)))
    return next(holds, "block")
