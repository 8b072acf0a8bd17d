"""The command line for callers: ask for takeovers, watch them, control them; against a service here or elsewhere."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from service.cli import tables
from service.cli.client import Client, Document
from service.cli.connection import calling, read_secret
from service.model.settings import PROJECT

TaskId = Annotated[int, typer.Argument(help="Task instance.")]
SubtaskId = Annotated[int, typer.Argument(help="Subtask of it.")]
OptionalSubtaskId = Annotated[int | None, typer.Argument(help="Subtask of it; without one, the task instance.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

tasks = typer.Typer()


@tasks.command()
@calling
def submit(
    client: Client,
    cluster_id: Annotated[int, typer.Argument(help="OBProxy cluster to take over into.")],
    host: Annotated[list[str], typer.Argument(help="HOST_ID or HOST_ID:SQL_PORT, each.")],
    proxysys_password_file: Annotated[
        Path | None, typer.Option(help="File with what root@proxysys has now, where that is not the cluster's.")
    ] = None,
    allow_restart: Annotated[
        bool | None,
        typer.Option(
            help="Whether an OBProxy may be restarted where a parameter needs that; without it, as the cluster says."
        ),
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Asked again with this, it is done once.")] = None,
    and_watch: Annotated[bool, typer.Option("--watch", "-w", help="And watch until all have ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a takeover, and print the ids of its task instances.

    submit 1 1:2883 2:2883        two hosts into OBProxy cluster 1

    submit 1 3 --watch            one host, at port 2883, and watch it

    submit 1 3 --allow-restart    and restart it where a parameter needs that
    """
    with_ports = [entry.partition(":") for entry in host]
    if not all(host_id.isdigit() and (port or "2883").isdigit() for host_id, _, port in with_ports):
        raise SystemExit(f"Each host must be HOST_ID or HOST_ID:SQL_PORT, found: {' '.join(host)}")
    given = {}
    if proxysys_password_file:
        given["proxysysPasswd"] = read_secret(proxysys_password_file, "password of root@proxysys")
    hosts = [{"hostId": int(host_id), "sqlPort": int(port or 2883), **given} for host_id, _, port in with_ports]
    documents = client.take_over(cluster_id, hosts, idempotency_key, allow_restart=allow_restart)
    if and_watch:
        _watch(client, [document["id"] for document in documents], as_json)
    elif as_json:
        _print_json(documents)
    else:
        print(*(document["id"] for document in documents), sep="\n")


@tasks.command()
@calling
def watch(
    client: Client,
    task_id: Annotated[list[int], typer.Argument(help="Task instances to watch.")],
    as_json: AsJson = False,
) -> None:
    """Show task instances filling until all have ended; exits with 1 when one has failed.

    watch 7 8           a table in a terminal, a line a change in a pipe

    watch 7 --json      their documents, once they have ended
    """
    _watch(client, task_id, as_json)


@tasks.command("tasks")
@calling
def list_tasks(
    client: Client,
    status: Annotated[str, typer.Option(help="RUNNING, FAILED, SUCCESSFUL; several with commas.")] = "",
    host_id: Annotated[int | None, typer.Option(help="Only of this host.")] = None,
    page: Annotated[int, typer.Option(help="Which page, from 1.")] = 1,
    size: Annotated[int, typer.Option(help="How many a page.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List task instances, the newest first.

    tasks --status RUNNING,FAILED
    """
    narrowed: dict[str, str | int] = {"page": page, "size": size, "status": status}
    if host_id is not None:
        narrowed["hostId"] = host_id
    found = client.tasks(**narrowed)
    if as_json:
        _print_json(found)
    else:
        Console().print(tables.overview(found))


@tasks.command()
@calling
def hosts(client: Client, as_json: AsJson = False) -> None:
    """List the hosts that can be named to `submit`, and which OBProxy cluster each serves already."""
    found = client.hosts()
    if as_json:
        _print_json(found)
    else:
        Console().print(tables.hosts(found))


@tasks.command()
@calling
def show(client: Client, task_id: TaskId, as_json: AsJson = False) -> None:
    """Show one task instance as it is now, and what may be asked of it.

    show 7
    """
    document = client.task(task_id)
    if as_json:
        _print_json(document)
    else:
        Console().print(tables.table([document]))
        for line in tables.legal_operations(document):
            print(line)


@tasks.command()
@calling
def log(
    client: Client,
    task_id: TaskId,
    subtask_id: SubtaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the subtask has ended.")] = False,
) -> None:
    """Print what a subtask's runs have said.

    log 7 78 -f         and what it goes on to say
    """
    if follow:
        for piece in client.follow_log(task_id, subtask_id):
            print(piece, flush=True)
    else:
        print(client.log(task_id, subtask_id))


@tasks.command()
@calling
def retry(client: Client, task_id: TaskId, subtask_id: OptionalSubtaskId = None) -> None:
    """Go on at what has failed.

    retry 7             everything that has failed in it

    retry 7 78          one subtask
    """
    client.control("retry", task_id, subtask_id)


@tasks.command()
@calling
def skip(client: Client, task_id: TaskId, subtask_id: SubtaskId) -> None:
    """Take a failed subtask for done, and go on behind it.

    skip 7 78
    """
    client.control("skip", task_id, subtask_id)


@tasks.command()
@calling
def cancel(client: Client, task_id: TaskId, subtask_id: SubtaskId) -> None:
    """End a running subtask.

    cancel 7 78
    """
    client.control("cancel", task_id, subtask_id)


@tasks.command()
@calling
def rollback(client: Client, task_id: TaskId) -> None:
    """Undo what a failed task instance has done, the last first.

    rollback 7
    """
    client.control("rollback", task_id)


@tasks.command()
def discover(
    host: Annotated[list[str] | None, typer.Argument(help="Names in the inventory, or patterns; none = all.")] = None,
    inventory: Annotated[
        Path, typer.Option("--inventory", "-i", envvar="TAKEOVER_INVENTORY", help="Ansible inventory.")
    ] = Path("inventory"),
) -> None:
    """Look from here what runs on hosts of an inventory, by SSH; needs no service and changes nothing.

    discover odp-1      what a takeover of this host would find
    """
    limit = ["--limit", ",".join(host)] if host else []
    playbook = Path(sys.executable).with_name("ansible-playbook")
    os.environ["ANSIBLE_CONFIG"] = str(PROJECT / "ansible.cfg")
    command = [str(playbook), "-i", str(inventory), *limit, str(PROJECT / "playbooks" / "discover.yml")]
    os.execv(playbook, command)  # noqa: S606 - it takes this process's place, and no shell is between


def _watch(client: Client, task_ids: Sequence[int], as_json: bool) -> None:
    show = _watch_live if sys.stdout.isatty() and not as_json else _watch_lines
    documents = show(client, task_ids, as_json)
    if as_json:
        _print_json(documents)
    for document in documents:
        _print_failures(client, document)
    raise SystemExit(any(document["status"] == "FAILED" for document in documents))


def _watch_live(client: Client, task_ids: Sequence[int], _: bool) -> list[Document]:
    documents: list[Document] = []
    # Drawn again and again although nothing comes: the elapsed times go on.
    with Live(console=Console(), get_renderable=lambda: tables.table(documents)):
        for found in client.watch(task_ids):
            documents = found
    return documents


def _watch_lines(client: Client, task_ids: Sequence[int], silent: bool) -> list[Document]:
    documents: list[Document] = []
    printed: set[str] = set()
    for documents in client.watch(task_ids):
        new = [line for line in tables.lines(documents) if line not in printed]
        printed.update(new)
        if new and not silent:
            print("\n".join(new), flush=True)
    return documents


def _print_failures(client: Client, document: Document) -> None:
    for subtask in document["subtasks"]:
        if subtask["status"] == "FAILED":
            print(f"\n{subtask['name']} failed:\n{client.log(document['id'], subtask['id'])}", file=sys.stderr)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
