"""Commands that read task instances: list, show, watch, log, diagnosis."""

import os
from pathlib import Path
from typing import Annotated

import typer

from service.cli import names, tables
from service.cli.client import TASKS, Client
from service.cli.connection import with_client
from service.cli.diagnosis import as_text
from service.cli.errors import InvalidUsage, RequestRejected
from service.cli.examples import examples
from service.cli.options import All, Limit, PageNumber, TaskName, TaskNames
from service.cli.output import Format, Output, print_json, print_list, print_table
from service.cli.transport import Document
from service.cli.watching import exit_with_outcome
from service.cli.watching import watch as watch_tasks

tasks = typer.Typer(rich_markup_mode=None)


@tasks.command(
    "tasks",
    epilog=examples(
        ("tasks --status RUNNING,FAILED", "list those that run or have failed"),
        ("tasks --host odp-1 --all", "list the history of a host"),
        ("tasks -o json", "print the document of the API"),
    ),
)
@with_client
def list_tasks(
    client: Client,
    status: Annotated[
        str, typer.Option(metavar="STATUS", help="RUNNING, FAILED or SUCCESSFUL. Separate several with commas.")
    ] = "",
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Id or name of a host: list only its own.")] = None,
    page: PageNumber = 1,
    limit: Limit = 20,
    all_pages: All = False,
    output: Output = Format.TABLE,
) -> None:
    """List task instances, newest first."""
    query: dict[str, str | int] = {"status": status}
    if host is not None:
        query["hostId"] = names.host_id(client, host)
    found = client.all(TASKS, **query) if all_pages else client.page(TASKS, page, limit, **query)
    print_list(found, tables.TASKS, output)


@tasks.command(
    epilog=examples(
        ("show 7", "show the subtasks, and the commands that are possible now"),
        ("show odp-3", "show the newest task instance of host odp-3"),
    )
)
@with_client
def show(client: Client, task: TaskName, output: Output = Format.TABLE) -> None:
    """Show a task instance, and the operations that are legal now."""
    document = client.task(names.task_id(client, task))
    if output is Format.JSON:
        print_json(document)
        return
    print_table(tables.task(document, output))
    if changes := tables.changes(document):
        print("\nChanges on the host:")
        print_table(changes)
    if commands := list(tables.legal_operations(document)):
        print("\nPossible now:", *commands, sep="\n")


@tasks.command(
    epilog=examples(
        ("watch 7", "show the subtasks: live in a terminal, one line per change in a pipe"),
        ("watch odp-1 odp-2", "show one line per host, then a summary"),
        ("watch 7 -o json", "print the document when it has ended"),
    )
)
@with_client
def watch(client: Client, task: TaskNames, output: Output = Format.TABLE) -> None:
    """Watch task instances until all have ended.

    The exit status is 1 if one has failed.
    """
    exit_with_outcome(watch_tasks(client, names.task_ids(client, task), output))


@tasks.command(
    epilog=examples(
        ("log 7", "print the log of the subtask that has failed, or that runs"),
        ("log odp-3 'Sync obproxy parameter'", "print the log of a subtask by its name"),
        ("log 7 78 --follow", "follow a log until the subtask has ended"),
    )
)
@with_client
def log(
    client: Client,
    task: TaskName,
    subtask: Annotated[
        str | None,
        typer.Argument(metavar="SUBTASK", help="Id or name of a subtask. Default: the one that runs, or has failed."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until the subtask has ended.")] = False,
) -> None:
    """Print the log of a subtask."""
    document = client.task(names.task_id(client, task))
    chosen = _default_subtask(document) if subtask is None else names.subtask(document, subtask)
    if follow:
        for piece in client.follow_log(document["id"], chosen["id"]):
            print(piece, flush=True)
    else:
        print(client.log(document["id"], chosen["id"]))


@tasks.command(
    epilog=examples(
        ("diagnosis 7", "write diagnosis-7.zip"),
        ("diagnosis odp-3 --text --file report.txt", "write one text instead of a zip"),
    )
)
@with_client
def diagnosis(
    client: Client,
    task: TaskName,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write. Default: diagnosis-TASK.zip or .txt.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Write one text instead of a zip.")] = False,
) -> None:
    """Write the diagnosis of a task instance to a file.

    It has the subtasks, the changes on the host and the logs. Passwords are masked.
    """
    task_id = names.task_id(client, task)
    archive = client.diagnosis(task_id)
    target = file or Path(f"diagnosis-{task_id}.{'txt' if text else 'zip'}")
    _write(target, as_text(archive).encode() if text else archive)
    print(target)


def _default_subtask(document: Document) -> Document:
    """Return the subtask that runs, has failed, or is the next one; raise RequestRejected when all have ended."""
    ready = [subtask for subtask in document["subtasks"] if subtask["status"] == "READY"]
    for found in (tables.current_subtask(document), *ready):
        if found:
            return dict(found)
    number = document["id"]
    raise RequestRejected(
        f"No subtask of task instance {number} runs or has failed. Name one, such as: log {number}"
        f" {document['subtasks'][0]['id']}"
    )


def _write(file: Path, content: bytes) -> None:
    """Write a file that only this user can read. Raise InvalidUsage when that is not possible."""
    try:
        with open(file, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
            opened.write(content)
    except OSError as error:
        raise InvalidUsage(f"The file cannot be written: {error}") from error
