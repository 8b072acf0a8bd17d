"""Records of what a run has changed on a host."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    rows = subtask.changes or ()
    return [RecordedChange(**{**row, "operation": Operation(row["operation"])}) for row in rows]
