"""Task instances as a table in a terminal: a column a host, a row a subtask."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from service.cli.client import Document

MARKS = {
    "PENDING": ("·", "dim"),
    "READY": ("○", "cyan"),
    "RUNNING": ("▶", "bold yellow"),
    "CANCELING": ("◼", "bold magenta"),
    "FAILED": ("✗", "bold red"),
    "SUCCESSFUL": ("✓", "green"),
    "SUPERSEDED": ("↷", "dim"),
}


def table(documents: Sequence[Document]) -> Table:
    """What all of `documents` say, each with its elapsed times; of a single one also the ids that commands want."""
    alone = ("id",) if len(documents) == 1 else ()
    heads = (f"{document['hostName']}\ntask {document['id']}" for document in documents)
    drawn = Table(*alone, "Subtask", *heads, title="Taking over OBProxy")
    if not documents:
        return drawn
    for row in zip(*(in_order(document["subtasks"]) for document in documents), strict=True):
        drawn.add_row(*(str(row[0]["id"]) for _ in alone), row[0]["name"], *(_cell(subtask) for subtask in row))
    drawn.add_section()
    drawn.add_row(*("" for _ in alone), "", *(_cell(document) for document in documents))
    return drawn


def lines(documents: Iterable[Document]) -> Iterable[str]:
    """The same for a pipe: one line a subtask, `task subtask status name`."""
    for document in documents:
        for subtask in in_order(document["subtasks"]):
            yield f"{document['id']} {subtask['id']} {subtask['status']} {subtask['name']}"


def overview(documents: Sequence[Document]) -> Table:
    """A row a task instance."""
    drawn = Table("id", "name", "host", "status", "progress", "start", "by")
    for document in documents:
        statuses = [subtask["status"] for subtask in document["subtasks"]]
        done = f"{statuses.count('SUCCESSFUL')}/{len(statuses)}"
        start = f"{_moment(document['startTime']).astimezone():%Y-%m-%d %H:%M:%S}"
        named = (str(document["id"]), document["name"], document["hostName"])
        drawn.add_row(*named, _cell(document), done, start, document["creator"]["name"])
    return drawn


def hosts(documents: Sequence[Document]) -> Table:
    """A row a host."""
    drawn = Table("id", "name", "address", "OBProxy cluster")
    for document in documents:
        clusters = ", ".join(f"{found['name']} {found['version'] or ''}".strip() for found in document["services"])
        drawn.add_row(str(document["id"]), document["name"], document["innerIpAddress"], clusters)
    return drawn


def legal_operations(document: Document) -> Iterable[str]:
    """The commands that may be given now, a line each; of a superseded task instance the newer one."""
    if newer := document.get("supersededBy"):
        yield f"Superseded by task {newer}, a newer one of the same OBProxy: show {newer}"
    for operation in document["operations"]:
        yield f"    {operation.lower()} {document['id']}"
    for subtask in in_order(document["subtasks"]):
        for operation in subtask["operations"]:
            yield f"    {operation.lower()} {document['id']} {subtask['id']}    # {subtask['name']}"


def in_order(subtasks: Sequence[Document]) -> list[Document]:
    """Subtasks in the order of the DAG, whatever order they came in; of a chain, which a takeover is."""
    by_id = {subtask["id"]: subtask for subtask in subtasks}
    ordered = [subtask for subtask in subtasks if not subtask["upstreams"]]
    for subtask in ordered:
        ordered += [by_id[downstream] for downstream in subtask["downstreams"]]
    return ordered


def _cell(thing: Document) -> Text:
    superseded = thing["status"] == "FAILED" and "supersededBy" in thing
    status = "SUPERSEDED" if superseded else thing["status"]
    mark, style = MARKS[status]
    return Text(f"{mark} {status:<10} {_elapsed(thing)}", style=style)


def _elapsed(thing: Document) -> str:
    if "startTime" not in thing:
        return ""
    end = _moment(thing["finishTime"]) if "finishTime" in thing else datetime.now(UTC)
    return f"{(end - _moment(thing['startTime'])).total_seconds():5.1f} s"


def _moment(timestamp: Any) -> datetime:
    return datetime.fromisoformat(timestamp)
