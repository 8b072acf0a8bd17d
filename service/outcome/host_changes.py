"""Validates the changes in an Ansible result, and sums up the changes of several hosts.

A result lists what it has changed on the host in `changes` (plugins/module_utils/changes.py). Values come from a
managed host: their type, number and size are limited.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from service.model.changes import HostChange, RecordedChange
from service.model.tasks import Operation
from service.outcome import ansible_results
from service.outcome.masking import MASK, is_secret

MAX_CHANGES = 500  # of one role in one run; a takeover has fewer than 20
NAME_LIMIT = 300  # characters
VALUE_LIMIT = 2_000  # characters of a value before or after

_WHAT = re.compile("[a-z][a-z_]{0,29}")
_RESULTS = ("runner_on_ok", "runner_on_failed", "runner_on_unreachable")


@dataclass(frozen=True, kw_only=True)
class ChangeSum:
    """The changes of one kind on several hosts, such as 3 parameters on 47 hosts."""

    what: str
    names: int  # different names
    hosts: int


def validated(event: Mapping[str, Any], room: int = MAX_CHANGES) -> tuple[list[HostChange], list[str]]:
    """Return at most `room` valid changes of a result, and a note about those that are left out."""
    found = ansible_results.mapping(ansible_results.mapping(event.get("event_data")).get("res")).get("changes")
    if event.get("event") not in _RESULTS or not isinstance(found, list):
        return [], []
    changes = [change for change in map(_change, found[:room]) if change]
    is_whole = len(changes) == len(found)
    return changes, [] if is_whole else [f"[changes: some are left out: invalid, or more than {MAX_CHANGES}]"]


def lasting_names(changes: Iterable[RecordedChange]) -> dict[str, list[str]]:
    """Return the names of a host's lasting changes by kind, both in alphabetical order."""
    names: dict[str, list[str]] = {}
    for what, name in sorted({(change.what, change.name) for change in _lasting(changes)}):
        names.setdefault(what, []).append(name)
    return names


def summed(changes_by_host: Iterable[Iterable[RecordedChange]]) -> list[ChangeSum]:
    """Sum up the changes that last, from all subtasks of each host; the kind on the most hosts comes first."""
    names: dict[str, set[str]] = {}
    hosts: dict[str, int] = {}
    for changes in changes_by_host:
        lasting = {(change.what, change.name) for change in _lasting(changes)}
        for what, name in lasting:
            names.setdefault(what, set()).add(name)
        for what in {what for what, _ in lasting}:
            hosts[what] = hosts.get(what, 0) + 1
    sums = [ChangeSum(what=what, names=len(names[what]), hosts=hosts[what]) for what in names]
    return sorted(sums, key=lambda each: (-each.hosts, -each.names, each.what))


def _lasting(changes: Iterable[RecordedChange]) -> list[RecordedChange]:
    """Return the last change of each name, without those that a rollback or a later change has undone.

    `changes` are in the order of the subtasks; a rollback follows everything else.
    """
    in_time = sorted(changes, key=lambda change: change.operation is Operation.ROLLBACK)
    first = {(change.what, change.name): change for change in reversed(in_time)}
    last = {(change.what, change.name): change for change in in_time}
    return [
        change
        for key, change in last.items()
        if change.operation is not Operation.ROLLBACK and not _is_undone(first[key], change)
    ]


def _is_undone(first: RecordedChange, last: RecordedChange) -> bool:
    """Return whether the last change has led back to the value before the first one, which is no secret."""
    return first is not last and first.before == last.after != MASK


def _change(value: object) -> HostChange | None:
    """Return a change of a result; None when it is invalid."""
    found = ansible_results.mapping(value)
    what, name = found.get("what"), ansible_results.clean(found.get("name"), NAME_LIMIT)
    before, after = found.get("before"), found.get("after")
    is_valid = isinstance(what, str) and _WHAT.fullmatch(what) and name and _is_text(before) and _is_text(after)
    if not is_valid:
        return None
    hidden = is_secret(name)
    return HostChange(
        what=str(what),
        name=name,
        before=_shown(before, hidden=hidden),
        after=_shown(after, hidden=hidden),
        needs_restart=found.get("needs_restart") is True,
    )


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _shown(value: object, *, hidden: bool) -> str | None:
    if value is None:
        return None
    text = ansible_results.clean(value)
    return MASK if hidden else text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]} …"
