"""Records of what a run has changed on a host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.model.tasks import Operation, Subtask


@dataclass(frozen=True, kw_only=True)
class HostChange:
    """One thing that a role has changed, or would change in check mode. None = it does not exist."""

    what: str  # parameter, password, file, directory, record, package, process …
    name: str
    before: str | None
    after: str | None
    needs_restart: bool = False  # it acts only after a restart of the OBProxy


@dataclass(frozen=True, kw_only=True)
class RecordedChange(HostChange):
    """A change with the execution of the subtask that has made it."""

    operation: Operation
    run_time: int


def changes_of(subtask: Subtask) -> Sequence[RecordedChange]:
    """Return the changes of all executions of a subtask, in the order in which they were made."""
    return recorded(subtask.changes or ())


def recorded(rows: Sequence[Mapping[str, Any]]) -> list[RecordedChange]:
    """Return changes from their stored form."""
    return [RecordedChange(**{**row, "operation": Operation(row["operation"])}) for row in rows]
