"""Describes what an action has changed on the host, or would change in check mode, as its result reports it.

A result has `changes`, a list of these. The service stores and shows them with the subtask.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from .masking import MASK
from .parameter_values import Difference

Change = dict[str, Any]
PRESENT, REWRITTEN = "present", "rewritten"  # a record's content is not shown: it can contain encrypted passwords


def change(what: str, name: str, before: str | None, after: str | None, *, needs_restart: bool = False) -> Change:
    """Return one change; None means that it does not exist."""
    return {"what": what, "name": name, "before": before, "after": after, "needs_restart": needs_restart}


def parameter_change(difference: Difference) -> Change:
    """Return the change of a parameter that is set to its desired value."""
    one = difference
    return change("parameter", one.name, one.before, one.after, needs_restart=one.needs_restart)


def password_change(name: str) -> Change:
    """Return the change of a password, without a value."""
    return change("password", name, MASK, MASK)


def process_change(before: Mapping[str, Any] | None, pid: int | None) -> Change:
    """Return the start or restart of the OBProxy; `pid` is the new process, None in check mode."""
    former = None if before is None else f"pid {before['pid']}"
    return change("process", "obproxy", former, "a new process" if pid is None else f"pid {pid}")


def file_change(converged: Mapping[str, Any], state_directory: str, *, is_directory: bool) -> Change:
    """Return the change of a file or directory, an element of `changed` in the answer of `programs.converge`."""
    path, before, after = str(converged["path"]), converged["before"], converged["after"]
    if is_directory:
        return change("directory", path, PRESENT, None)
    if PurePosixPath(path).parent != PurePosixPath(state_directory):
        return change("file", path, before, after)
    if before is None:
        return change("record", path, None, PRESENT)
    return change("record", path, PRESENT, None if after is None else REWRITTEN)
