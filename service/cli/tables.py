"""Tables of task instances and their subtasks."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from service.cli.output import Column, Format, fields, table
from service.cli.states import duration, local_time, parse_time, state, subtask_duration
from service.cli.transport import Document
from service.outcome.failed_rules import RuleFailure

HELD = {"ROLLOUT": "its batch has not started", "MAX_FAILURES": "too many hosts have failed"}

TASKS = (
    Column(header="ID", value=lambda task: task["id"]),
    Column(header="HOST", value=lambda task: task["hostName"]),
    Column(header="STATE", value=lambda task: state(task["state"])),
    Column(header="DONE", value=lambda task: done(task["subtasks"])),
    Column(header="START", value=lambda task: local_time(task["startTime"])),
    Column(header="END", value=lambda task: local_time(task.get("finishTime")), wide=True),
    Column(header="REQUEST", value=lambda task: task.get("requestId"), wide=True),
    Column(header="SUPERSEDED_BY", value=lambda task: task.get("supersededBy"), wide=True),
    Column(header="BY", value=lambda task: task["creator"]["name"]),
    Column(header="NAME", value=lambda task: task["name"]),
    Column(header="SUBTASK", value=lambda task: current_subtask(task).get("name"), wide=True),
)
SUBTASKS = (
    Column(header="ID", value=lambda subtask: subtask["id"]),
    Column(header="STATE", value=lambda subtask: state(subtask["state"])),
    Column(header="DURATION", value=subtask_duration),
    Column(header="OPERATION", value=lambda subtask: subtask["operation"], wide=True),
    Column(header="EXECUTION", value=lambda subtask: subtask["runTime"], wide=True),
    Column(header="START", value=lambda subtask: local_time(subtask.get("startTime")), wide=True),
    Column(header="EXECUTOR", value=lambda subtask: subtask.get("executor"), wide=True),
    Column(header="SUBTASK", value=lambda subtask: subtask["name"]),
)
CHANGES = (
    Column(header="KIND", value=lambda change: change["what"]),
    Column(header="NAME", value=lambda change: change["name"]),
    Column(header="BEFORE", value=lambda change: change.get("before")),
    Column(header="AFTER", value=lambda change: change.get("after")),
    Column(header="RESTART", value=lambda change: "needed" if change["needsRestart"] else None),
    Column(header="SUBTASK", value=lambda change: f"{change['subtask']} ({change['operation']})"),
)


def task(document: Document, output: Format = Format.TABLE) -> Group:
    """Return a task instance with its subtasks."""
    return Group(_head(document), "", table(SUBTASKS, in_dag_order(document["subtasks"]), output))


def subtask_lines(document: Document) -> dict[int, str]:
    """Return one line per subtask, `task subtask state name`, by the subtask's id."""
    return {
        subtask["id"]: f"{document['id']} {subtask['id']} {subtask['state']} {subtask['name']}"
        for subtask in in_dag_order(document["subtasks"])
    }


def host_row(document: Document) -> Document:
    """Return a task instance in the shape of a request's host."""
    starts = [subtask["startTime"] for subtask in document["subtasks"] if "startTime" in subtask]
    return {
        "hostName": document["hostName"],
        "taskId": document["id"],
        "state": document["state"],
        "finishedSubtasks": sum(subtask["status"] == "SUCCESSFUL" for subtask in document["subtasks"]),
        "subtaskCount": len(document["subtasks"]),
        **({"startTime": min(starts, key=parse_time)} if starts else {}),
        **({"finishTime": document["finishTime"]} if "finishTime" in document else {}),
        **({"subtask": current["name"]} if (current := current_subtask(document)) else {}),
    }


def current_subtask(document: Document) -> Document:
    """Return the subtask that runs or, if none does, the first that has failed; empty when there is none."""
    for statuses in (("RUNNING", "CANCELING"), ("FAILED",)):
        for subtask in document["subtasks"]:
            if subtask["status"] in statuses:
                return dict(subtask)
    return {}


def done(subtasks: Sequence[Document]) -> str:
    """Return the number of successful subtasks and that of all."""
    return f"{sum(subtask['status'] == 'SUCCESSFUL' for subtask in subtasks)}/{len(subtasks)}"


def legal_operations(document: Document) -> Iterable[str]:
    """Yield the commands that are legal now, one per line."""
    for operation in document["operations"]:
        yield f"    {operation.lower()} {document['id']}"
    for subtask in in_dag_order(document["subtasks"]):
        for operation in subtask["operations"]:
            yield f"    {operation.lower()} {document['id']} {subtask['id']}    # {subtask['name']}"


def changes(document: Document) -> Table | None:
    """Return the changes on the host of a task instance, by subtask; None when there are none."""
    found = [
        {**change, "subtask": subtask["name"]}
        for subtask in in_dag_order(document["subtasks"])
        for change in subtask.get("changes", ())
    ]
    return table(CHANGES, found) if found else None


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


def _blocker(number: int, host: str) -> str:
    return f"task {number} ({host})"


def _head(document: Document) -> Table:
    row: dict[str, Any] = dict(host_row(document))
    held, newer, waits = document.get("heldBy"), document.get("supersededBy"), document.get("waitsFor", ())
    request = document.get("requestId")
    values: dict[str, object] = {
        "Task": f"{document['id']} ({document['name']})",
        "Host": document["hostName"],
        "State": state(document["state"]),
        "Operation": document["operation"],
        "Subtasks": f"{row['finishedSubtasks']} of {row['subtaskCount']} successful",
        "Duration": duration(row.get("startTime"), row.get("finishTime")) or None,
        "Started by": f"{document['creator']['name']} at {local_time(document['createTime'])}",
        "Request": request,
        "Superseded by": newer and f"task {newer} of the same OBProxy: show {newer}",
        "Held": held and f"because {HELD[held]}: request show {request}",
        "Waits for": ", ".join(map(_blocker, waits, document.get("waitsForHosts", ()))) or None,
    }
    return fields(values)
