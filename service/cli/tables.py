"""Tables of task instances and hosts for a terminal."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from service.cli.client import Document
from service.outcome.failed_rules import RuleFailure

STATUS_STYLES = {
    "PENDING": ("·", "dim"),
    "READY": ("○", "cyan"),
    "RUNNING": ("▶", "bold yellow"),
    "CANCELING": ("◼", "bold magenta"),
    "FAILED": ("✗", "bold red"),
    "SUCCESSFUL": ("✓", "green"),
    "SUPERSEDED": ("↷", "dim"),
    "WAITING": ("·", "dim"),
    "WAITING_FOR_HOST": ("⧖", "cyan"),
    "QUEUED": ("○", "cyan"),
    "ROLLED_BACK": ("↶", "magenta"),
    "NOT_STARTED": ("‖", "yellow"),
}


def subtasks_by_host(documents: Sequence[Document]) -> Table:
    """Return a table with one column per task instance and one row per subtask.

    A single task instance has a column with the ids of its subtasks, which commands take as arguments.
    """
    id_column = ("id",) if len(documents) == 1 else ()
    heads = (f"{document['hostName']}\ntask {document['id']}" for document in documents)
    shown = Table(*id_column, "Subtask", *heads, title="Taking over OBProxy")
    if not documents:
        return shown
    for row in zip(*(in_dag_order(document["subtasks"]) for document in documents), strict=True):
        shown.add_row(
            *(str(row[0]["id"]) for _ in id_column), row[0]["name"], *(_status_cell(subtask) for subtask in row)
        )
    shown.add_section()
    shown.add_row(*("" for _ in id_column), "", *(_status_cell(document) for document in documents))
    return shown


def status_lines(documents: Iterable[Document]) -> Iterable[str]:
    """Yield one line per subtask, `task subtask status name`, for output to a pipe."""
    for document in documents:
        for subtask in in_dag_order(document["subtasks"]):
            yield f"{document['id']} {subtask['id']} {subtask['state']} {subtask['name']}"


def task_list(documents: Sequence[Document]) -> Table:
    """Return a table with one row per task instance."""
    shown = Table("id", "name", "host", "status", "progress", "start", "by")
    for document in documents:
        statuses = [subtask["status"] for subtask in document["subtasks"]]
        done = f"{statuses.count('SUCCESSFUL')}/{len(statuses)}"
        start = f"{_parse_time(document['startTime']).astimezone():%Y-%m-%d %H:%M:%S}"
        named = (str(document["id"]), document["name"], document["hostName"])
        shown.add_row(*named, _status_cell(document), done, start, document["creator"]["name"])
    return shown


def host_list(documents: Sequence[Document]) -> Table:
    """Return a table with one row per host."""
    shown = Table("id", "name", "address", "OBProxy cluster")
    for document in documents:
        clusters = ", ".join(
            f"{service['name']} {service['version'] or ''}".strip() for service in document["services"]
        )
        shown.add_row(str(document["id"]), document["name"], document["innerIpAddress"], clusters)
    return shown


def legal_operations(document: Document) -> Iterable[str]:
    """Yield the commands that are legal now, one per line.

    For a superseded task instance also the newer one, for a held one the reason.
    """
    if newer := document.get("supersededBy"):
        yield f"Superseded by task {newer} of the same OBProxy: show {newer}"
    if held := document.get("heldBy"):
        reason = "its batch has not started" if held == "ROLLOUT" else "too many hosts have failed"
        yield f"Held, because {reason}: request show {document['requestId']}"
    for operation in document["operations"]:
        yield f"    {operation.lower()} {document['id']}"
    for subtask in in_dag_order(document["subtasks"]):
        for operation in subtask["operations"]:
            yield f"    {operation.lower()} {document['id']} {subtask['id']}    # {subtask['name']}"


def changes(document: Document, title: str = "Changes on the host") -> Table | None:
    """Return a table with the changes on the host of a task instance, by subtask; None when there are none."""
    shown = Table("Subtask", "What", "Name", "Before", "After", "Restart", title=title)
    for subtask in in_dag_order(document["subtasks"]):
        for change in subtask.get("changes", ()):
            name = f"{subtask['name']} ({change['operation']})"
            values = (Text(change.get(side, "-")) for side in ("before", "after"))
            restart = "needed" if change["needsRestart"] else ""
            shown.add_row(name, change["what"], Text(change["name"]), *values, restart)
    return shown if shown.row_count else None


def failed_rules(failure: RuleFailure) -> Table:
    """Return the failed rules of a subtask as a list with the labels Rule, Found and Fix."""
    shown = Table.grid("", "", padding=(0, 2, 0, 0))
    for failed in failure.rules:
        shown.add_row("Rule:", Text(failed.rule), style="bold")
        shown.add_row("Found:", Text(failed.found))
        shown.add_row("Fix:", Text(failed.fix), end_section=True)
    return shown


def in_dag_order(subtasks: Sequence[Document]) -> list[Document]:
    """Return the subtasks of a takeover in the order of its DAG, which is a chain."""
    by_id = {subtask["id"]: subtask for subtask in subtasks}
    ordered = [subtask for subtask in subtasks if not subtask["upstreams"]]
    for subtask in ordered:
        ordered += [by_id[downstream] for downstream in subtask["downstreams"]]
    return ordered


def _status_cell(document: Document) -> Text:
    state = str(document.get("state", document["status"]))
    mark, style = STATUS_STYLES[state]
    return Text(f"{mark} {state:<10} {_elapsed(document)}", style=style)


def _elapsed(document: Document) -> str:
    if "startTime" not in document:
        return ""
    end = _parse_time(document["finishTime"]) if "finishTime" in document else datetime.now(UTC)
    return f"{(end - _parse_time(document['startTime'])).total_seconds():5.1f} s"


def _parse_time(timestamp: Any) -> datetime:
    return datetime.fromisoformat(timestamp)
