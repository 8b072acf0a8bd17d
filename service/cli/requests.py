"""Commands about requests: list, show, watch, and operations on all hosts of one."""

from typing import NoReturn

import typer
from rich.console import Group

from service.cli import request_tables
from service.cli.client import REQUESTS, Client
from service.cli.connection import with_client
from service.cli.errors import RequestRejected
from service.cli.examples import examples
from service.cli.options import All, Limit, PageNumber, RequestId, Watch
from service.cli.output import Format, Output, print_json, print_list, print_table
from service.cli.transport import Document
from service.cli.watching import follow

FAILED_STATUSES = ("FAILED", "STOPPED")

requests = typer.Typer(rich_markup_mode=None)
request = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show, watch and control all hosts of a request."
)


@requests.command("requests", epilog=examples(("requests --limit 5", "list the five newest requests")))
@with_client
def list_requests(
    client: Client, page: PageNumber = 1, limit: Limit = 20, all_pages: All = False, output: Output = Format.TABLE
) -> None:
    """List requests, newest first."""
    found = client.all(REQUESTS) if all_pages else client.page(REQUESTS, page, limit)
    print_list(found, request_tables.REQUESTS, output)


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


@request.command(epilog=examples(("request retry 12 --watch", "retry, and watch until no host runs")))
@with_client
def retry(client: Client, request_id: RequestId, watch_hosts: Watch = False, output: Output = Format.TABLE) -> None:
    """Retry all failed hosts. A stopped rollout goes on."""
    _control(client, "retry", request_id, watch_hosts, output)


@request.command(epilog=examples(("request rollback 12 --watch", "roll back, and watch until no host runs")))
@with_client
def rollback(client: Client, request_id: RequestId, watch_hosts: Watch = False, output: Output = Format.TABLE) -> None:
    """Roll back all failed hosts."""
    _control(client, "rollback", request_id, watch_hosts, output)


@request.command(epilog=examples(("request cancel 12 --watch", "cancel, and watch until no host runs")))
@with_client
def cancel(client: Client, request_id: RequestId, watch_hosts: Watch = False, output: Output = Format.TABLE) -> None:
    """Cancel all hosts that run or wait. With --watch, the exit status 0 means: all were canceled."""
    _control(client, "cancel", request_id, watch_hosts, output)


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


def _control(client: Client, operation: str, request_id: int, watch_hosts: bool, output: Format) -> None:
    result = client.control_request(operation, request_id)
    if output is not Format.JSON:
        print(*request_tables.operation(result), sep="\n")
    elif not watch_hosts:
        print_json(result)
    if result["rejected"] and not result["accepted"]:
        raise SystemExit(RequestRejected.exit_status)
    if watch_hosts and operation == "cancel":
        _exit_when_canceled(_follow_to_end(client, request_id, output), result)
    if watch_hosts:
        watch_request(client, request_id, output)


def _exit_when_canceled(document: Document, result: Document) -> NoReturn:
    """Exit with status 0 when every host that accepted the cancel has failed, that is: was canceled."""
    canceled = {host["taskId"] for host in result["accepted"]}
    states = [host["state"] for host in document["hosts"] if host["taskId"] in canceled]
    raise SystemExit(any(state not in ("FAILED", "SUPERSEDED") for state in states))
