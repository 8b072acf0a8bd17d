"""Commands about requests: list, show, watch, and operations on all hosts of one."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NoReturn

import typer
from rich.console import Group

from service.cli import names, request_tables
from service.cli.client import REQUESTS, Client
from service.cli.connection import with_client
from service.cli.errors import InvalidUsage, RequestRejected
from service.cli.examples import examples
from service.cli.options import All, Limit, PageNumber, RequestId, RequestIds, Watch
from service.cli.output import Format, Output, print_json, print_list, print_table
from service.cli.transport import Document
from service.cli.watching import follow

FAILED_STATUSES = ("FAILED", "STOPPED")
TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
TIME_HELP = "Submitted at or after this time, such as 2026-11-29 or 2026-11-29T16:30, in the local time zone."

requests = typer.Typer(rich_markup_mode=None)
request = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show, watch and control all hosts of a request."
)


@requests.command(
    "requests",
    epilog=examples(
        ("requests --status FAILED,STOPPED", "list those that need an operation"),
        ("requests --host odp-1 --after 2026-11-01", "list those of a host since November"),
    ),
)
@with_client
def list_requests(
    client: Client,
    status: Annotated[
        str,
        typer.Option(
            metavar="STATUS",
            help="RUNNING, STOPPED, FAILED, SUCCESSFUL or ROLLED_BACK. Separate several with commas.",
        ),
    ] = "",
    workflow: Annotated[str, typer.Option(metavar="WORKFLOW", help="Name of a workflow, such as takeover.")] = "",
    cluster: Annotated[str, typer.Option(metavar="TEXT", help="Part of the name of an OBProxy cluster.")] = "",
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Id or name of a host: list only its own.")] = None,
    creator: Annotated[str, typer.Option(metavar="TEXT", help="Part of the name of a user.")] = "",
    after: Annotated[datetime | None, typer.Option(formats=TIMES, metavar="TIME", help=TIME_HELP)] = None,
    before: Annotated[
        datetime | None, typer.Option(formats=TIMES, metavar="TIME", help="Submitted before this time.")
    ] = None,
    page: PageNumber = 1,
    limit: Limit = 20,
    all_pages: All = False,
    output: Output = Format.TABLE,
) -> None:
    """List requests, newest first."""
    query: dict[str, str | int] = {
        "status": status,
        "workflow": workflow,
        "obproxyCluster": cluster,
        "creator": creator,
        "startAfter": _with_offset(after),
        "startBefore": _with_offset(before),
    }
    if host is not None:
        query["hostId"] = names.host_id(client, host)
    found = client.all(REQUESTS, **query) if all_pages else client.page(REQUESTS, page, limit, **query)
    print_list(found, request_tables.REQUESTS, output)


def _with_offset(moment: datetime | None) -> str:
    """Return a time with its offset from UTC, empty without one. Raise InvalidUsage when no offset fits it."""
    try:
        return moment.astimezone().isoformat() if moment else ""
    except (ValueError, OverflowError):  # at the ends of the calendar
        raise InvalidUsage(f"The time must be between the years 2000 and 2200, found: {moment}") from None


@request.command(epilog=examples(("request show 12", "show all hosts of request 12, and its failures by reason")))
@with_client
def show(client: Client, request_id: RequestId, output: Output = Format.TABLE) -> None:
    """Show the hosts of a request, and its failures by reason."""
    document = client.request(request_id)
    if output is Format.JSON:
        print_json(document)
    else:
        print_table(request_tables.hosts(document["hosts"], output))
        print("", *request_tables.summary(document), sep="\n")


@request.command(
    epilog=examples(
        ("request watch 12", "show one line per host: live in a terminal, one per change in a pipe"),
        ("request watch 12 -o json", "print the document at the end"),
    )
)
@with_client
def watch(client: Client, request_id: RequestId, output: Output = Format.TABLE) -> None:
    """Show one line per host until no host runs. The exit status is 1 if one has failed or was not started."""
    watch_request(client, request_id, output)


@request.command(
    epilog=examples(
        ("request retry 12 --watch", "retry, and watch until no host runs"),
        ("request retry 12 13 14", "retry the failed hosts of several requests"),
    )
)
@with_client
def retry(client: Client, request_ids: RequestIds, watch_hosts: Watch = False, output: Output = Format.TABLE) -> None:
    """Retry all failed hosts. A stopped rollout goes on."""
    _control(client, "retry", request_ids, watch_hosts, output)


@request.command(epilog=examples(("request rollback 12 --watch", "roll back, and watch until no host runs")))
@with_client
def rollback(
    client: Client, request_ids: RequestIds, watch_hosts: Watch = False, output: Output = Format.TABLE
) -> None:
    """Roll back all failed hosts."""
    _control(client, "rollback", request_ids, watch_hosts, output)


@request.command(epilog=examples(("request cancel 12 --watch", "cancel, and watch until no host runs")))
@with_client
def cancel(client: Client, request_ids: RequestIds, watch_hosts: Watch = False, output: Output = Format.TABLE) -> None:
    """Cancel all hosts that run or wait. With --watch, the exit status 0 means: all were canceled."""
    _control(client, "cancel", request_ids, watch_hosts, output)


def watch_request(client: Client, request_id: int, output: Format) -> NoReturn:
    """Show the progress of a request until no host runs, then its summary. Exit with status 1 if a host has failed."""
    raise SystemExit(_follow_to_end(client, request_id, output)["status"] in FAILED_STATUSES)


def _follow_to_end(client: Client, request_id: int, output: Format) -> Document:
    def display(found: Document, rows: int) -> Group:
        hosts = request_tables.hosts(found["hosts"], output, limit=rows)
        return Group(hosts, f"\nRequest {request_id}: {request_tables.counts(found)}")

    def lines(found: Document) -> dict[int, str]:
        return {host["taskId"]: request_tables.host_line(host) for host in found["hosts"]}

    document = follow(client.watch_request(request_id), output, display=display, lines=lines)
    if output is Format.JSON:
        print_json(document)
    else:
        print(*request_tables.summary(document), sep="\n")
    return document


def _control(client: Client, operation: str, request_ids: Sequence[int], watch_hosts: bool, output: Format) -> None:
    """Execute an operation on requests, one after the other, then watch them. Exit with the highest exit status.

    A request that rejects the operation does not keep it from the others.
    """
    accepted, exit_status = [], 0
    for request_id in request_ids:
        try:
            result = client.control_request(operation, request_id)
        except RequestRejected as error:
            if len(request_ids) == 1:
                raise
            print(error, file=sys.stderr)
            exit_status = RequestRejected.exit_status
            continue
        is_rejected = result["rejected"] and not result["accepted"]
        _print_result(result, output, is_last=is_rejected or not watch_hosts, of_several=len(request_ids) > 1)
        if is_rejected:
            exit_status = RequestRejected.exit_status
        else:
            accepted.append(result)
    for result in accepted if watch_hosts else ():
        document = _follow_to_end(client, result["requestId"], output)
        failed = not _is_canceled(document, result) if operation == "cancel" else document["status"] in FAILED_STATUSES
        exit_status = max(exit_status, int(failed))
    raise SystemExit(exit_status)


def _print_result(result: Document, output: Format, *, is_last: bool, of_several: bool) -> None:
    """Print the result of an operation on a request. Unless it `is_last`, a watch follows, which prints a document."""
    lines = request_tables.operation(result, of_several=of_several)
    if output is not Format.JSON:
        print(*lines, sep="\n")
    elif is_last:
        print_json(result)
    elif result["rejected"]:
        print(*lines, sep="\n", file=sys.stderr)


def _is_canceled(document: Document, result: Document) -> bool:
    """Return whether every host that accepted the cancel has failed, that is: was canceled."""
    canceled = {host["taskId"] for host in result["accepted"]}
    return all(host["state"] in ("FAILED", "SUPERSEDED") for host in document["hosts"] if host["taskId"] in canceled)
