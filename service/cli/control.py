"""Commands that control task instances: retry, skip, cancel and roll back."""

from collections.abc import Sequence
from typing import Annotated

import typer

from service.cli import names, tables
from service.cli.client import Client
from service.cli.connection import with_client
from service.cli.errors import RequestRejected
from service.cli.examples import examples
from service.cli.options import TaskName, Watch
from service.cli.output import Format, Output, print_json
from service.cli.transport import Document
from service.cli.watching import exit_with_outcome, watch

SubtaskName = Annotated[str | None, typer.Argument(metavar="SUBTASK", help="Id or name of a subtask.")]

control = typer.Typer(rich_markup_mode=None)


@control.command(
    epilog=examples(
        ("retry 7", "retry all failed subtasks of task instance 7"),
        ("retry 7 78", "retry one subtask"),
        ("retry odp-3 --watch", "retry the newest task instance of host odp-3, and watch"),
    )
)
@with_client
def retry(
    client: Client,
    task: TaskName,
    subtask: SubtaskName = None,
    watch_task: Watch = False,
    output: Output = Format.TABLE,
) -> None:
    """Retry the failed subtasks, or one of them."""
    document = client.task(names.task_id(client, task))
    chosen = None if subtask is None else names.subtask(document, subtask)
    _control(client, "retry", document, chosen, watch_task, output)


@control.command(
    epilog=examples(
        ("skip 7", "skip the failed subtask of task instance 7"),
        ("skip odp-3 'Check if command exists' --watch", "skip this subtask, and watch"),
    )
)
@with_client
def skip(
    client: Client,
    task: TaskName,
    subtask: SubtaskName = None,
    watch_task: Watch = False,
    output: Output = Format.TABLE,
) -> None:
    """Count a failed subtask as successful, and continue.

    Default: the only failed subtask.
    """
    document = client.task(names.task_id(client, task))
    _control(client, "skip", document, _chosen(document, subtask, ("FAILED",), "failed"), watch_task, output)


@control.command(
    epilog=examples(
        ("cancel 7", "cancel the running subtask of task instance 7"),
        ("cancel odp-3 --watch", "cancel what runs on host odp-3; exit with 0 when it was canceled"),
    )
)
@with_client
def cancel(
    client: Client,
    task: TaskName,
    subtask: SubtaskName = None,
    watch_task: Watch = False,
    output: Output = Format.TABLE,
) -> None:
    """Terminate a running subtask.

    Default: the one that runs. With --watch, the exit status 0 means: it was canceled.
    """
    document = client.task(names.task_id(client, task))
    _control(client, "cancel", document, _chosen(document, subtask, ("RUNNING",), "running"), watch_task, output)


@control.command(
    epilog=examples(
        ("rollback 7", "undo the changes of task instance 7"),
        ("rollback odp-3 --watch", "roll back the newest task instance of host odp-3, and watch"),
    )
)
@with_client
def rollback(client: Client, task: TaskName, watch_task: Watch = False, output: Output = Format.TABLE) -> None:
    """Undo the changes of a failed task instance.

    The subtasks are rolled back in reverse order.
    """
    document = client.task(names.task_id(client, task))
    _control(client, "rollback", document, None, watch_task, output)


def _chosen(document: Document, name: str | None, statuses: Sequence[str], word: str) -> Document:
    """Return the named subtask or, without a name, the only one with such a status."""
    if name is not None:
        return names.subtask(document, name)
    found = [subtask for subtask in tables.in_dag_order(document["subtasks"]) if subtask["status"] in statuses]
    if not found:
        raise RequestRejected(f"Task instance {document['id']} has no {word} subtask.")
    if len(found) > 1:
        ids = ", ".join(str(subtask["id"]) for subtask in found)
        raise RequestRejected(f"Task instance {document['id']} has several {word} subtasks. Name one: {ids}.")
    return found[0]


def _control(
    client: Client, operation: str, document: Document, subtask: Document | None, watch_task: bool, output: Format
) -> None:
    """Request an operation and show its outcome, or only that it was accepted."""
    client.control(operation, document["id"], None if subtask is None else subtask["id"])
    if watch_task:
        exit_with_outcome(watch(client, [document["id"]], output), expected="FAILED" if operation == "cancel" else None)
    elif output is Format.JSON:
        print_json(client.task(document["id"]))
    else:
        print(f"Task {document['id']} ({document['hostName']}): {operation} accepted.")
