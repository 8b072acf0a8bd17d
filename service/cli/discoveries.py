"""Commands about discoveries by the service: which OBProxies run on hosts, and what prevents their takeover."""

import time
from collections.abc import Iterable
from typing import Annotated

import typer

from service.cli import names
from service.cli.client import DISCOVERIES, Client
from service.cli.connection import with_client
from service.cli.errors import ClientError
from service.cli.examples import examples
from service.cli.fleet import host
from service.cli.options import All, Limit, PageNumber
from service.cli.output import Column, Format, Output, print_json, print_list, print_table, table
from service.cli.transport import Document, when_reachable

POLL_INTERVAL = 1.0  # seconds between two polls for results

COLUMNS = (
    Column(header="HOST", value=lambda row: row["hostName"]),
    Column(header="STATE", value=lambda row: row["state"]),
    Column(header="PORT", value=lambda row: row.get("sqlPort")),
    Column(header="VERSION", value=lambda row: row.get("version")),
    Column(header="APP_NAME", value=lambda row: row.get("appName")),
    Column(header="CLUSTER", value=lambda row: row.get("clusterName")),
    Column(header="LOGIN", value=lambda row: row.get("login"), wide=True),
    Column(header="SUPERVISOR", value=lambda row: row.get("supervisor"), wide=True),
    Column(header="PACKAGE", value=lambda row: row.get("package"), wide=True),
    Column(header="AGE", value=lambda row: None if row["age"] is None else f"{row['age']}s", wide=True),
    Column(header="PREVENTED_BY", value=lambda row: row["prevented"]),
)


listing = typer.Typer(rich_markup_mode=None)


@host.command(
    epilog=examples(
        ("host discover odp-1 odp-2", "show what runs on two hosts"), ("host discover -o wide", "on all hosts")
    )
)
@with_client
def discover(
    client: Client,
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="HOST", help="Ids or names of hosts. Default: all of the inventory.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Discover what runs on hosts, by the service, and wait for the results.

    It changes nothing. The exit status is 1 if a host cannot be discovered.
    """
    ids = names.host_ids(client, hosts) if hosts else None
    found = client.discover(ids)
    asked = {each["hostId"] for each in found}
    query = {"hostId": found[0]["hostId"]} if len(found) == 1 else {}
    while any(each["state"] == "PENDING" for each in found):
        time.sleep(POLL_INTERVAL)
        listed = when_reachable(lambda: client.all(DISCOVERIES, **query))
        found = [each for each in listed["contents"] if each["hostId"] in asked]
    if output is Format.JSON:
        print_json(found)
    else:
        print_table(table(COLUMNS, _rows(found), output))
    if failed := [each["hostName"] for each in found if each["state"] != "DISCOVERED"]:
        raise ClientError(f"{len(failed)} of {len(found)} hosts cannot be discovered: {', '.join(failed[:10])}")


@listing.command(
    epilog=examples(
        ("discoveries", "list what runs on the hosts"), ("discoveries --keyword odp --all -o wide", "on all with odp")
    )
)
@with_client
def discoveries(
    client: Client,
    keyword: Annotated[str, typer.Option(metavar="TEXT", help="Part of a host's name or address.")] = "",
    page: PageNumber = 1,
    limit: Limit = 20,
    all_pages: All = False,
    output: Output = Format.TABLE,
) -> None:
    """List what the last discovery of each host found. A host has a row for each OBProxy."""
    query = {"keyword": keyword} if keyword else {}
    found = client.all(DISCOVERIES, **query) if all_pages else client.page(DISCOVERIES, page, limit, **query)
    print_list(found, COLUMNS, output, _rows)


def _rows(found: Iterable[Document]) -> Iterable[Document]:
    """Yield a row for each OBProxy of the hosts, and one for each host without."""
    for each in found:
        about = {"hostName": each["hostName"], "state": each["state"], "age": each.get("age")}
        for one in each["obproxies"]:
            yield {**one, **about, "prevented": _rules(one)}
        if not each["obproxies"]:
            yield {**about, "prevented": _rules(each) or each.get("message")}


def _rules(found: Document) -> str:
    return "; ".join(rule["rule"].rstrip(".") for rule in found["rules"])
