"""Commands that read OBProxy clusters, OBProxy servers and hosts. `discover` needs no service."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.cli import names
from service.cli.client import CLUSTERS, HOSTS, Client
from service.cli.connection import with_client
from service.cli.examples import examples
from service.cli.options import All, ClusterName, Limit, PageNumber
from service.cli.output import Column, Format, Output, fields, print_json, print_list, print_table, table
from service.cli.states import local_time
from service.cli.transport import Document

HostName = Annotated[str, typer.Argument(metavar="HOST", help="Id or name of the host.")]

CLUSTER_COLUMNS = (
    Column(header="ID", value=lambda cluster: cluster["id"]),
    Column(header="NAME", value=lambda cluster: cluster["name"]),
    Column(header="SERVERS", value=lambda cluster: len(cluster["obproxies"])),
    Column(header="DRIFTED", value=lambda cluster: sum(bool(_drift(server)) for server in cluster["obproxies"])),
    Column(header="VERSIONS", value=lambda cluster: ",".join(found["version"] for found in cluster["versions"])),
    Column(header="MODE", value=lambda cluster: cluster.get("workMode"), wide=True),
    Column(header="UPDATED", value=lambda cluster: local_time(cluster.get("updateTime")), wide=True),
)
SERVER_COLUMNS = (
    Column(header="ID", value=lambda server: server["id"]),
    Column(header="CLUSTER", value=lambda server: server["clusterName"]),
    Column(header="HOST", value=lambda server: server["hostName"]),
    Column(header="ADDRESS", value=lambda server: f"{server['ip']}:{server['sqlPort']}"),
    Column(header="STATUS", value=lambda server: server["status"]),
    Column(header="VERSION", value=lambda server: server.get("version")),
    Column(header="RESTART", value=lambda server: ",".join(server.get("pendingRestart") or ()), wide=True),
    Column(header="EXPORTER", value=lambda server: server.get("exporterPort"), wide=True),
    Column(header="LAST_ACTIVE", value=lambda server: local_time(server.get("lastActiveTime")), wide=True),
    Column(header="DISCOVERED", value=lambda server: local_time(server.get("lastDiscoveryTime")), wide=True),
    Column(header="DISCOVERY_ERROR", value=lambda server: server.get("discoveryError"), wide=True),
    Column(header="CHANGED_BY_OTHERS", value=lambda server: "; ".join(_changes_by_others(server)), wide=True),
    Column(header="DRIFT", value=lambda server: "; ".join(_drift(server))),
)
HOST_COLUMNS = (
    Column(header="ID", value=lambda host: host["id"]),
    Column(header="NAME", value=lambda host: host["name"]),
    Column(header="ADDRESS", value=lambda host: host["innerIpAddress"]),
    Column(header="STATUS", value=lambda host: host["status"]),
    Column(header="SSH_PORT", value=lambda host: host["sshPort"], wide=True),
    Column(header="ARCHITECTURE", value=lambda host: host["architecture"], wide=True),
    Column(header="IDC", value=lambda host: host["idcName"], wide=True),
    Column(header="CLUSTERS", value=lambda host: ", ".join(map(_service, host["services"]))),
)
PARAMETER_COLUMNS = (
    Column(header="NAME", value=lambda parameter: parameter["name"]),
    Column(header="VALUE", value=lambda parameter: parameter["valueString"]),
    Column(header="RESTART", value=lambda parameter: "needed" if parameter["needReboot"] else None),
    Column(header="DESCRIPTION", value=lambda parameter: parameter["description"], wide=True),
)

fleet = typer.Typer(rich_markup_mode=None)
cluster = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show an OBProxy cluster and its parameters.")
host = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show a host, or discover what runs on hosts.")


@fleet.command(epilog=examples(("clusters", "list the OBProxy clusters of the inventory")))
@with_client
def clusters(
    client: Client, page: PageNumber = 1, limit: Limit = 20, all_pages: All = False, output: Output = Format.TABLE
) -> None:
    """List OBProxy clusters."""
    found = client.all(CLUSTERS) if all_pages else client.page(CLUSTERS, page, limit)
    print_list(found, CLUSTER_COLUMNS, output)


@cluster.command("show", epilog=examples(("cluster show test", "show OBProxy cluster test with its servers")))
@with_client
def show_cluster(client: Client, cluster: ClusterName, output: Output = Format.TABLE) -> None:
    """Show an OBProxy cluster with its servers and their drift."""
    document = client.cluster(names.cluster_id(client, cluster))
    if output is Format.JSON:
        print_json(document)
        return
    about = {
        "Cluster": f"{document['id']} ({document['name']})",
        "Address": document.get("address"),
        "Mode": document.get("workMode"),
        "Configuration": document.get("configUrl"),
        "Updated": local_time(document.get("updateTime")),
    }
    print_table(fields(about))
    print()
    print_table(table(SERVER_COLUMNS, _with_names(client, [document]), output))


@cluster.command(
    "parameters", epilog=examples(("cluster parameters test -o wide", "list the parameters with their descriptions"))
)
@with_client
def parameters(client: Client, cluster: ClusterName, output: Output = Format.TABLE) -> None:
    """List the parameters of an OBProxy cluster. Several values of one parameter are separated by commas."""
    print_list(client.parameters(names.cluster_id(client, cluster)), PARAMETER_COLUMNS, output)


@fleet.command(
    epilog=examples(
        ("servers", "list all managed OBProxy servers with their drift"),
        ("servers --cluster test -o wide", "list those of one cluster, with parameters that wait for a restart"),
    )
)
@with_client
def servers(
    client: Client,
    cluster: Annotated[
        str | None, typer.Option(metavar="CLUSTER", help="Id or name of an OBProxy cluster: list only its servers.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """List OBProxy servers. DRIFT has the differences from the settings of the cluster."""
    found = client.clusters()["contents"] if cluster is None else [client.cluster(names.cluster_id(client, cluster))]
    listed = {"contents": [server for each in found for server in each["obproxies"]]}
    print_list(listed if output is Format.JSON else {"contents": _with_names(client, found)}, SERVER_COLUMNS, output)


@fleet.command(
    epilog=examples(
        ("hosts", "list the hosts of the inventory"),
        ("hosts --keyword odp --all -o wide", "list all hosts with odp in their names"),
    )
)
@with_client
def hosts(
    client: Client,
    keyword: Annotated[str, typer.Option(metavar="TEXT", help="Part of a name, an address or a cluster's name.")] = "",
    page: PageNumber = 1,
    limit: Limit = 20,
    all_pages: All = False,
    output: Output = Format.TABLE,
) -> None:
    """List the hosts of the inventory, and what each serves."""
    query = {"keyword": keyword} if keyword else {}
    found = client.all(HOSTS, **query) if all_pages else client.page(HOSTS, page, limit, **query)
    print_list(found, HOST_COLUMNS, output)


@host.command("show", epilog=examples(("host show odp-1", "show one host")))
@with_client
def show_host(client: Client, host: HostName, output: Output = Format.TABLE) -> None:
    """Show a host of the inventory."""
    document = client.host(names.host_id(client, host))
    if output is Format.JSON:
        print_json(document)
    else:
        shown = (column for column in HOST_COLUMNS if output is Format.WIDE or not column.wide)
        print_table(fields({_label(column.header): column.value(document) for column in shown}))


@fleet.command(epilog=examples(("discover odp-1", "show the state of one host"), ("discover -i hosts.yml", "of all")))
def discover(
    host: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST", help="Names of hosts in the inventory, or patterns. Default: all."),
    ] = None,
    inventory: Annotated[
        Path,
        typer.Option("--inventory", "-i", metavar="PATH", envvar="TAKEOVER_INVENTORY", help="Ansible inventory."),
    ] = Path("inventory"),
) -> None:
    """Read the state of hosts over SSH, without a service.

    It reads as a takeover does, and changes nothing.
    """
    from service.model.settings import PROJECT

    limit = ["--limit", ",".join(host)] if host else []
    playbook = Path(sys.executable).with_name("ansible-playbook")
    os.environ["ANSIBLE_CONFIG"] = str(PROJECT / "ansible.cfg")
    command = [str(playbook), "-i", str(inventory), *limit, str(PROJECT / "playbooks" / "discover.yml")]
    os.execv(playbook, command)  # noqa: S606 - replaces this process, without a shell


def _with_names(client: Client, clusters: Sequence[Document]) -> list[Document]:
    """Return the servers of clusters, with the names of their clusters and hosts."""
    known = {host["id"]: host["name"] for host in client.hosts()["contents"]}
    return [
        {**server, "clusterName": each["name"], "hostName": known.get(server["hostId"], server["hostId"])}
        for each in clusters
        for server in each["obproxies"]
    ]


def _drift(server: Document) -> list[str]:
    """Return the differences from the settings of the cluster, those of parameters too."""
    parameters = server.get("parameterDrift") or ()
    return [
        *(server.get("drift") or ()),
        *(f"{one['name']}: found {one['found']}, expected {one['expected']}" for one in parameters),
    ]


def _changes_by_others(server: Document) -> list[str]:
    changes = server.get("unmanagedChanges") or ()
    return [f"{one['name']}: {one.get('before', '-')} -> {one.get('after', '-')}" for one in changes]


def _label(header: str) -> str:
    return header if header in ("ID", "IDC") else header.replace("_", " ").capitalize()


def _service(service: Document) -> str:
    return f"{service['name']} {service['version'] or ''}".strip()
