"""Where an Ansible task stands in its play: to which subtask it belongs, and inside which blocks.

The role of an Ansible task does not answer this: a role may include, import or depend on the role of another subtask.
"""

from collections.abc import Iterator
from typing import Any

MOST_BLOCKS = 50  # of an Ansible task that stands inside more, the outermost are named
SECTIONS = ("rescue", "always")


def position(task: Any) -> dict[str, Any]:
    """Return what an event says about the position of its Ansible task."""
    return {"subtask": subtask_of(task), "blocks": blocks_of(task)}


def subtask_of(task: Any) -> str:
    """Return the subtask that an Ansible task belongs to; empty for one that belongs to none.

    A subtask is a role that the play itself names, as an import, as an include or under `roles`, with a tag of the
    same name. Everything that this role includes, imports or depends on belongs to it.
    """
    entry = next(filter(None, map(_entry, reversed(list(_lineage(task))))), None)
    name = str(entry._role_name).rpartition(".")[2] if entry else ""
    return name if entry and name in (entry.tags or ()) else ""


def blocks_of(task: Any) -> list[str]:
    """Return the blocks with `rescue` or `always` that an Ansible task stands in, the outermost first, each as its id
    and the section: `ID block`, `ID rescue` or `ID always`."""
    found: list[str] = []
    inner: set[str] = set()
    for node in _lineage(task):
        if any(getattr(node, section, None) for section in SECTIONS):
            found.append(f"{node._uuid} {_section(node, inner)}")
        inner.add(node._uuid)
    return found[::-1][:MOST_BLOCKS]


def delegate_of(result: Any) -> str:
    """Return the host that an Ansible task was delegated to; empty if there is none. A result names it only when that
    host was reached. In a loop it is a template still: each item has its own."""
    name = str(getattr(result.task, "delegate_to", None) or "")
    return "" if "{{" in name else name


def _lineage(task: Any) -> Iterator[Any]:
    while task is not None:
        yield task
        task = getattr(task, "_parent", None)


def _entry(node: Any) -> Any:
    """Return the include or the role by which `node` has come into the play; None if the play itself contains it."""
    if hasattr(node, "_role_name"):
        return node
    chain = getattr(node, "_dep_chain", None)  # the roles that led to this block, the outermost first
    return chain[0] if chain else getattr(node, "_role", None)


def _section(block: Any, inner: set[str]) -> str:
    holds = (name for name in SECTIONS if any(node._uuid in inner for node in getattr(block, name)))
    return next(holds, "block")
