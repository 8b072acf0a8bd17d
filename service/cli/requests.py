"""Commands about requests: list, show, watch, and operations on all hosts of one."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from service.cli import request_tables
from service.cli.client import Client, Document, RequestRejected
from service.cli.connection import with_client

RequestId = Annotated[int, typer.Argument(help="Id of the request.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FAILED_STATUSES = ("FAILED", "STOPPED")
OTHER_LINES = 6  # of the live display, besides the rows of hosts

requests = typer.Typer()
request = typer.Typer(no_args_is_help=True, help="Show, watch and control all hosts of a request.")


@requests.command("requests")
@with_client
def list_requests(
    client: Client,
    page: Annotated[int, typer.Option(help="Number of the page, from 1.")] = 1,
    size: Annotated[int, typer.Option(help="Requests per page.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List requests, newest first."""
    found = client.requests(page=page, size=size)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        Console(soft_wrap=True).print(request_tables.request_list(found))


@request.command()
@with_client
def show(client: Client, request_id: RequestId, as_json: AsJson = False) -> None:
    """Show the hosts of a request, and its failures by reason.

    request show 12
    """
    document = client.request(request_id)
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        Console(soft_wrap=True).print(request_tables.hosts(document))
        print("", *request_tables.summary(document), sep="\n")


@request.command()
@with_client
def watch(client: Client, request_id: RequestId, as_json: AsJson = False) -> None:
    """Show one line per host until no host runs. The exit status is 1 if one has failed or was not started.

    request watch 12           a table in a terminal, or one line per change in a pipe

    request watch 12 --json    print the JSON document at the end
    """
    watch_request(client, request_id, as_json)


@request.command()
@with_client
def retry(client: Client, request_id: RequestId) -> None:
    """Retry all failed hosts. A stopped rollout goes on.

    request retry 12
    """
    _control(client, "retry", request_id)


@request.command()
@with_client
def rollback(client: Client, request_id: RequestId) -> None:
    """Roll back all failed hosts.

    request rollback 12
    """
    _control(client, "rollback", request_id)


@request.command()
@with_client
def cancel(client: Client, request_id: RequestId) -> None:
    """Cancel all hosts that run or wait.

    request cancel 12
    """
    _control(client, "cancel", request_id)


def watch_request(client: Client, request_id: int, as_json: bool) -> None:
    """Show the progress of a request until no host runs, then its summary. Exit with status 1 if a host has failed."""
    show = _watch_live if sys.stdout.isatty() and not as_json else _watch_lines
    document = show(client, request_id, as_json)
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(*request_tables.summary(document), sep="\n")
    raise SystemExit(document["status"] in FAILED_STATUSES)


def _watch_live(client: Client, request_id: int, _: bool) -> Document:
    console = Console()
    document = client.request(request_id)

    def shown() -> Group:
        rows = request_tables.hosts(document, limit=max(console.height - OTHER_LINES, 1))
        return Group(rows, Text(f"\nRequest {request_id}: {request_tables.counts(document)}"))

    with Live(console=console, get_renderable=shown):
        for found in client.watch_request(request_id):
            document = found
    return document


def _watch_lines(client: Client, request_id: int, silent: bool) -> Document:
    document: Document = {}
    printed: dict[int, str] = {}
    for document in client.watch_request(request_id):
        for host in document["hosts"]:
            line = request_tables.host_line(host)
            if printed.get(host["taskId"]) != line and not silent:
                print(line, flush=True)
            printed[host["taskId"]] = line
    return document


def _control(client: Client, operation: str, request_id: int) -> None:
    result = client.control_request(operation, request_id)
    print(*request_tables.operation(result), sep="\n")
    if result["rejected"] and not result["accepted"]:
        raise SystemExit(RequestRejected.exit_status)
