"""Describes what an action has changed on the host, or would change in check mode, as its result reports it.

A result has `changes`, a list of these. The service stores and shows them with the subtask.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from .masking import MASK, is_secret
from .parameter_values import Difference

Change = dict[str, Any]
PRESENT, REWRITTEN = "present", "rewritten"
"""Stand for content that is not shown. A record can contain encrypted passwords, and the file of another program
passwords that this run does not know and so cannot mask."""


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


def not_restored(name: str, value: str) -> Change:
    """Return that a rollback leaves a parameter or password as it is; `value` is the one that stays."""
    shown = MASK if is_secret(name) else value
    return change("not_restored", name, shown, shown)


def failed_start_changes(ended: Iterable[int], left: int | None) -> list[Change]:
    """Return the processes that a failed start has ended, and the one that it has left."""
    changes = []
    for pid in ended:
        changes += [change("process", "obproxy", None, f"pid {pid}"), change("process", "obproxy", f"pid {pid}", None)]
    return changes + ([] if left is None else [change("process", "obproxy", None, f"pid {left}")])


def process_change(before: Mapping[str, Any] | None, pid: int | None) -> Change:
    """Return the start or restart of the OBProxy; `pid` is the new process, None in check mode."""
    former = None if before is None else f"pid {before['pid']}"
    return change("process", "obproxy", former, "a new process" if pid is None else f"pid {pid}")


def file_change(converged: Mapping[str, Any], file: Mapping[str, Any] | None, state_directory: str) -> Change:
    """Return the change of a file, an element of `changed` in the answer of `programs.converge`.

    `file` is what was wanted; None = it is a directory that was removed because it was empty.
    """
    path, before, after = str(converged["path"]), converged["before"], converged["after"]
    if file is None:
        return change("directory", path, PRESENT, None)
    if PurePosixPath(path).parent != PurePosixPath(state_directory):
        return change("file", path, shown_content(before, file), shown_content(after, file))
    if before is None:
        return change("record", path, None, PRESENT)
    return change("record", path, PRESENT, None if after is None else REWRITTEN)


def shown_content(text: str | None, file: Mapping[str, Any]) -> str | None:
    """Return the content of a file that the takeover has written or writes; otherwise only that it exists."""
    is_ours = text == file["text"] or (file.get("signature") and file["signature"] in str(text))
    return text if text is None or is_ours else PRESENT
