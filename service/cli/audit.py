"""Command that lists the audit."""

from typing import Annotated

import typer

from service.cli.client import AUDIT, Client
from service.cli.connection import with_client
from service.cli.examples import examples
from service.cli.options import All, Limit, PageNumber
from service.cli.output import Column, Format, Output, print_list
from service.cli.states import local_time

COLUMNS = (
    Column(header="ID", value=lambda event: event["id"]),
    Column(header="TIME", value=lambda event: local_time(event["time"])),
    Column(header="USER", value=lambda event: event.get("userName")),
    Column(header="CLIENT", value=lambda event: event["client"]),
    Column(header="STATUS", value=lambda event: event["status"]),
    Column(header="CALLS", value=lambda event: event["calls"], wide=True),
    Column(header="TRACE", value=lambda event: event["traceId"], wide=True),
    Column(header="METHOD", value=lambda event: event["method"]),
    Column(header="PATH", value=lambda event: event["path"]),
)

audit = typer.Typer(rich_markup_mode=None)


@audit.command(
    "audit",
    epilog=examples(
        ("audit", "list the newest audit events"),
        ("audit --user-name anne --all -o json", "print all events of a user"),
    ),
)
@with_client
def list_events(
    client: Client,
    user_name: Annotated[str, typer.Option(metavar="NAME", help="List only events of this user.")] = "",
    page: PageNumber = 1,
    limit: Limit = 20,
    all_pages: All = False,
    output: Output = Format.TABLE,
) -> None:
    """List audit events, newest first.

    They are requests to the service, and commands on its machine that change its database.
    """
    query = {"userName": user_name} if user_name else {}
    found = client.all(AUDIT, **query) if all_pages else client.page(AUDIT, page, limit, **query)
    print_list(found, COLUMNS, output)
