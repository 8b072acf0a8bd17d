"""Follows task instances until they have ended: subtasks of one, or one line per host and a summary of several."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live

from service.cli import request_tables, tables
from service.cli.client import Client
from service.cli.output import Format, print_json, print_table
from service.cli.transport import Document
from service.outcome import failed_rules
from service.outcome.failure_groups import HostFailure

OTHER_LINES = 4  # of the live display, besides the rows of hosts
STATUS_LINE = "Set state for subtask: "


def watch(client: Client, task_ids: Sequence[int], output: Format, *, with_changes: bool = False) -> list[Document]:
    """Show the progress of task instances until all have ended, then their failures; return their documents."""
    documents = follow(
        client.watch(task_ids), output, display=lambda found, rows: _display(found, output, rows), lines=_lines
    )
    if output is Format.JSON:
        print_json(documents[0] if len(documents) == 1 else {"contents": documents})
        return documents
    if len(documents) > 1:
        print("", *_summary(client, documents), sep="\n")
    else:
        _print_failures(client, documents[0])
    for document in documents if with_changes else ():
        if changes := tables.changes(document):
            print(f"\nChanges by a takeover of {document['hostName']}:")
            print_table(changes)
    return documents


def exit_with_outcome(documents: Sequence[Document], *, expected: str | None = None) -> NoReturn:
    """Exit with status 0 if all task instances are successful or, with `expected`, have this status; else with 1."""
    wanted = expected or "SUCCESSFUL"
    raise SystemExit(any(document["status"] != wanted for document in documents))


def follow[Shown](
    updates: Iterator[Shown],
    output: Format,
    *,
    display: Callable[[Shown, int], RenderableType],
    lines: Callable[[Shown], Mapping[int, str]],
) -> Shown:
    """Show what changes until `updates` end, and return the last of them.

    A terminal has a display of at most as many rows as fit. A pipe has each line that differs from the last one with
    its key. With the format JSON nothing is printed.
    """
    found = [next(updates)]
    if not sys.stdout.isatty() or output is Format.JSON:
        printed: dict[int, str] = {}
        for latest in chain(found, updates):
            found = [latest]
            if output is not Format.JSON:
                _print_changes(lines(latest), printed)
        return found[0]
    console = Console()
    # Live calls get_renderable at an interval, so that the durations advance between changes.
    with Live(console=console, get_renderable=lambda: display(found[0], max(console.height - OTHER_LINES, 1))):
        for latest in updates:
            found = [latest]
    return found[0]


def _print_changes(lines: Mapping[int, str], printed: dict[int, str]) -> None:
    for key, line in lines.items():
        if printed.get(key) != line:
            print(line, flush=True)
    printed.update(lines)


def _display(documents: Sequence[Document], output: Format, rows: int) -> RenderableType:
    if len(documents) == 1:
        return tables.task(documents[0], output)
    hosts = [tables.host_row(document) for document in documents]
    return Group(request_tables.hosts(hosts, output, limit=rows), "", request_tables.counted(hosts))


def _lines(documents: Sequence[Document]) -> Mapping[int, str]:
    """Return the lines of a pipe: of the subtasks of one task instance by subtask, of several by task instance."""
    if len(documents) == 1:
        return tables.subtask_lines(documents[0])
    return {document["id"]: request_tables.host_line(tables.host_row(document)) for document in documents}


def _summary(client: Client, documents: Sequence[Document]) -> Iterator[str]:
    yield f"{len(documents)} hosts: {request_tables.counted([tables.host_row(document) for document in documents])}."
    yield from request_tables.failures(
        HostFailure(
            host_name=document["hostName"],
            task_id=document["id"],
            subtask=subtask["name"],
            reason=_reason(client.log(document["id"], subtask["id"])),
        )
        for document in documents
        for subtask in document["subtasks"]
        if subtask["status"] == "FAILED"
    )


def _reason(log: str) -> str:
    """Return the error of a failed subtask: the last line of its log that is not a status."""
    lines = [line for line in log.splitlines() if not line.startswith(STATUS_LINE)]
    return lines[-1] if lines else ""


def _print_failures(client: Client, document: Document) -> None:
    for subtask in document["subtasks"]:
        if subtask["status"] == "FAILED":
            log = client.log(document["id"], subtask["id"])
            print(f"\n{subtask['name']} failed:\n{log}", file=sys.stderr)
            failures = [failure for line in log.splitlines() if (failure := failed_rules.parse(line))]
            for failure in failures[-1:]:  # earlier ones belong to earlier executions
                Console(stderr=True).print(tables.failed_rules(failure))
