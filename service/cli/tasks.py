"""Commands that call a service: submit, watch and control takeovers. `discover` needs no service."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.live import Live

from service.cli import tables
from service.cli.client import Client, Document, InvalidUsage
from service.cli.connection import read_secret, with_client
from service.cli.requests import watch_request
from service.model.fleet import DEFAULT_SQL_PORT
from service.model.settings import PROJECT
from service.model.types import JSON
from service.outcome import failed_rules

TaskId = Annotated[int, typer.Argument(help="Id of the task instance.")]
SubtaskId = Annotated[int, typer.Argument(help="Id of a subtask.")]
OptionalSubtaskId = Annotated[int | None, typer.Argument(help="Id of a subtask. Default: the task instance.")]
IdempotencyKey = Annotated[
    str | None, typer.Option(help="Idempotency key. Requests with the same key are executed once.")
]
WatchTasks = Annotated[bool, typer.Option("--watch", "-w", help="Watch until all task instances have ended.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

ManagingCluster = Annotated[int, typer.Argument(help="Id of the OBProxy cluster that manages the servers.")]
ServerIds = Annotated[list[int], typer.Argument(help="Ids of the OBProxy servers.")]
Canary = Annotated[int, typer.Option(min=0, help="Number of hosts that start before all others.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Hosts that start together. Default: all hosts after the canary.")
]
MaxFailures = Annotated[
    int | None, typer.Option(min=0, help="No further host starts when more hosts than this have failed. Default: 0.")
]

tasks = typer.Typer()


@tasks.command()
@with_client
def submit(
    client: Client,
    cluster_id: Annotated[int, typer.Argument(help="Id of the OBProxy cluster that manages the hosts afterwards.")],
    host: Annotated[list[str], typer.Argument(help=f"HOST_ID or HOST_ID:SQL_PORT. Default port: {DEFAULT_SQL_PORT}.")],
    proxysys_password_file: Annotated[
        Path | None,
        typer.Option(
            help="File that contains the current password of root@proxysys, if it differs from the cluster's."
        ),
    ] = None,
    allow_restart: Annotated[
        bool | None,
        typer.Option(help="Allow or forbid a restart where a parameter needs it. Default: the setting of the cluster."),
    ] = None,
    canary: Canary = 0,
    batch_size: BatchSize = None,
    max_failures: MaxFailures = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: report all failed rules and the changes of a takeover.")
    ] = False,
    idempotency_key: IdempotencyKey = None,
    watch_tasks: WatchTasks = False,
    as_json: AsJson = False,
) -> None:
    """Submit a takeover, and print the ids of its task instances.

    With --canary or --batch-size, hosts start in batches, in their order.

    submit 1 1:2883 2:2883        take over two hosts into OBProxy cluster 1

    submit 1 3 --watch            take over host 3 at port 2883, and watch

    submit 1 3 --allow-restart    restart the OBProxy where a parameter needs it

    submit 1 1 2 3 4 5 --canary 1 --batch-size 2

    submit 1 3 --check            check the takeover of host 3, wait, and print its findings and changes
    """
    with_ports = [entry.partition(":") for entry in host]
    if not all(host_id.isdigit() and (not port or port.isdigit()) for host_id, _, port in with_ports):
        raise InvalidUsage(f"Each host must be HOST_ID or HOST_ID:SQL_PORT, found: {' '.join(host)}")
    password = {}
    if proxysys_password_file:
        password["proxysysPasswd"] = read_secret(proxysys_password_file, "password of root@proxysys")
    hosts = [
        {"hostId": int(host_id), "sqlPort": int(port or DEFAULT_SQL_PORT), **password}
        for host_id, _, port in with_ports
    ]
    rollout = _rollout(canary, batch_size, max_failures)
    documents = client.take_over(
        cluster_id, hosts, idempotency_key, allow_restart=allow_restart, rollout=rollout, check=check
    )
    if check:
        _watch(client, [document["id"] for document in documents], as_json, with_changes=not as_json)
    _print_submitted(client, documents, watch_tasks, as_json)


@tasks.command()
@with_client
def release(
    client: Client,
    cluster_id: ManagingCluster,
    server_id: ServerIds,
    skip_host: Annotated[
        list[int] | None,
        typer.Option(help="Id of a server whose host is gone. Nothing runs on the host. Can be repeated."),
    ] = None,
    idempotency_key: IdempotencyKey = None,
    watch_tasks: WatchTasks = False,
    as_json: AsJson = False,
) -> None:
    """Release OBProxy servers, and print the ids of the task instances. The processes keep running.

    release 1 7 8                   release the servers 7 and 8 of OBProxy cluster 1

    release 1 9 --skip-host 9       forget server 9, whose host is gone
    """
    documents = client.release(cluster_id, server_id, skip_host or (), idempotency_key)
    _print_submitted(client, documents, watch_tasks, as_json)


@tasks.command()
@with_client
def refresh(
    client: Client,
    cluster_id: ManagingCluster,
    server_id: ServerIds,
    canary: Canary = 0,
    batch_size: BatchSize = None,
    max_failures: MaxFailures = None,
    idempotency_key: IdempotencyKey = None,
    watch_tasks: WatchTasks = False,
    as_json: AsJson = False,
) -> None:
    """Set managed OBProxy servers to their cluster's values again, and print the ids of the task instances.

    refresh 1 7 8 --watch       refresh the servers 7 and 8 of OBProxy cluster 1, and watch
    """
    rollout = _rollout(canary, batch_size, max_failures)
    documents = client.refresh(cluster_id, server_id, idempotency_key, rollout=rollout)
    _print_submitted(client, documents, watch_tasks, as_json)


@tasks.command()
@with_client
def restart(
    client: Client,
    cluster_id: ManagingCluster,
    server_id: ServerIds,
    allow_cold_restart: Annotated[
        bool,
        typer.Option("--allow-cold-restart", help="Permit a restart that disconnects clients, without a hot restart."),
    ] = False,
    canary: Canary = 0,
    batch_size: BatchSize = None,
    max_failures: MaxFailures = None,
    idempotency_key: IdempotencyKey = None,
    watch_tasks: WatchTasks = False,
    as_json: AsJson = False,
) -> None:
    """Restart managed OBProxy servers, one at a time, and print the ids of the task instances.

    restart 1 7 8 --watch                 restart the servers 7 and 8 of OBProxy cluster 1, and watch

    restart 1 9 --allow-cold-restart      also disconnect clients, of a version without a hot restart
    """
    rollout = _rollout(canary, batch_size, max_failures)
    documents = client.restart(cluster_id, server_id, idempotency_key, allow_cold=allow_cold_restart, rollout=rollout)
    _print_submitted(client, documents, watch_tasks, as_json)


@tasks.command()
@with_client
def watch(
    client: Client,
    task_id: Annotated[list[int], typer.Argument(help="Ids of the task instances.")],
    as_json: AsJson = False,
) -> None:
    """Show the progress of task instances until all have ended. The exit status is 1 if one has failed.

    watch 7 8           a table in a terminal, or one line per change in a pipe

    watch 7 --json      print the JSON documents when all have ended
    """
    _watch(client, task_id, as_json)


@tasks.command("tasks")
@with_client
def list_tasks(
    client: Client,
    status: Annotated[str, typer.Option(help="RUNNING, FAILED or SUCCESSFUL. Separate several with commas.")] = "",
    host_id: Annotated[int | None, typer.Option(help="List only task instances of this host.")] = None,
    page: Annotated[int, typer.Option(help="Number of the page, from 1.")] = 1,
    size: Annotated[int, typer.Option(help="Task instances per page.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List task instances, newest first.

    tasks --status RUNNING,FAILED
    """
    query: dict[str, str | int] = {"page": page, "size": size, "status": status}
    if host_id is not None:
        query["hostId"] = host_id
    found = client.tasks(**query)
    if as_json:
        _print_json(found)
    else:
        Console().print(tables.task_list(found))


@tasks.command()
@with_client
def hosts(client: Client, as_json: AsJson = False) -> None:
    """List the hosts of the inventory, and the OBProxy clusters that each serves."""
    found = client.hosts()
    if as_json:
        _print_json(found)
    else:
        Console().print(tables.host_list(found))


@tasks.command()
@with_client
def show(client: Client, task_id: TaskId, as_json: AsJson = False) -> None:
    """Show the current state of one task instance, and the operations that are legal now.

    show 7
    """
    document = client.task(task_id)
    if as_json:
        _print_json(document)
    else:
        Console().print(tables.subtasks_by_host([document]))
        if changed := tables.changes(document):
            Console().print(changed)
        for line in tables.legal_operations(document):
            print(line)


@tasks.command()
@with_client
def log(
    client: Client,
    task_id: TaskId,
    subtask_id: SubtaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until the subtask has ended.")] = False,
) -> None:
    """Print the log of a subtask.

    log 7 78 -f         follow the log until the subtask has ended
    """
    if follow:
        for piece in client.follow_log(task_id, subtask_id):
            print(piece, flush=True)
    else:
        print(client.log(task_id, subtask_id))


@tasks.command()
@with_client
def retry(client: Client, task_id: TaskId, subtask_id: OptionalSubtaskId = None) -> None:
    """Retry failed subtasks.

    retry 7             retry all failed subtasks of task instance 7

    retry 7 78          retry one subtask
    """
    client.control("retry", task_id, subtask_id)


@tasks.command()
@with_client
def skip(client: Client, task_id: TaskId, subtask_id: SubtaskId) -> None:
    """Set a failed subtask to successful, and continue with the next one.

    skip 7 78
    """
    client.control("skip", task_id, subtask_id)


@tasks.command()
@with_client
def cancel(client: Client, task_id: TaskId, subtask_id: SubtaskId) -> None:
    """Terminate a running subtask.

    cancel 7 78
    """
    client.control("cancel", task_id, subtask_id)


@tasks.command()
@with_client
def rollback(client: Client, task_id: TaskId) -> None:
    """Roll back a failed task instance: undo its changes in reverse order.

    rollback 7
    """
    client.control("rollback", task_id)


@tasks.command()
def discover(
    host: Annotated[
        list[str] | None, typer.Argument(help="Names of hosts in the inventory, or patterns. Default: all.")
    ] = None,
    inventory: Annotated[
        Path, typer.Option("--inventory", "-i", envvar="TAKEOVER_INVENTORY", help="Ansible inventory.")
    ] = Path("inventory"),
) -> None:
    """Read the state of hosts over SSH, as a takeover does. Needs no service and changes nothing.

    discover odp-1      show the state of one host
    """
    limit = ["--limit", ",".join(host)] if host else []
    playbook = Path(sys.executable).with_name("ansible-playbook")
    os.environ["ANSIBLE_CONFIG"] = str(PROJECT / "ansible.cfg")
    command = [str(playbook), "-i", str(inventory), *limit, str(PROJECT / "playbooks" / "discover.yml")]
    os.execv(playbook, command)  # noqa: S606 - replaces this process, without a shell


def _rollout(canary: int, batch_size: int | None, max_failures: int | None) -> JSON | None:
    """Return the policy by which hosts start; None = all at once. Exit when a limit has no batches."""
    if not canary and batch_size is None:
        if max_failures is not None:
            raise InvalidUsage("--max-failures needs --canary or --batch-size: otherwise all hosts start at once.")
        return None
    policy: JSON = {"canary": canary, "maxFailures": max_failures or 0}
    return policy if batch_size is None else {**policy, "batchSize": batch_size}


def _print_submitted(client: Client, documents: Sequence[Document], watch_tasks: bool, as_json: bool) -> None:
    if watch_tasks and len(documents) > 1 and not as_json:
        watch_request(client, client.task(documents[0]["id"])["requestId"], as_json)
    elif watch_tasks:
        _watch(client, [document["id"] for document in documents], as_json)
    elif as_json:
        _print_json(documents)
    else:
        print(*(document["id"] for document in documents), sep="\n")


def _watch(client: Client, task_ids: Sequence[int], as_json: bool, *, with_changes: bool = False) -> NoReturn:
    show = _watch_live if sys.stdout.isatty() and not as_json else _watch_lines
    documents = show(client, task_ids, as_json)
    if as_json:
        _print_json(documents)
    for document in documents:
        _print_failures(client, document)
        if with_changes and (changes := tables.changes(document, f"Changes by a takeover of {document['hostName']}")):
            Console().print(changes)
    raise SystemExit(any(document["status"] == "FAILED" for document in documents))


def _watch_live(client: Client, task_ids: Sequence[int], _: bool) -> list[Document]:
    documents: list[Document] = []
    # Live calls get_renderable at an interval, so that the elapsed times advance between changes.
    with Live(console=Console(), get_renderable=lambda: tables.subtasks_by_host(documents)):
        for found in client.watch(task_ids):
            documents = found
    return documents


def _watch_lines(client: Client, task_ids: Sequence[int], silent: bool) -> list[Document]:
    documents: list[Document] = []
    printed: set[str] = set()
    for documents in client.watch(task_ids):
        new = [line for line in tables.status_lines(documents) if line not in printed]
        printed.update(new)
        if new and not silent:
            print("\n".join(new), flush=True)
    return documents


def _print_failures(client: Client, document: Document) -> None:
    for subtask in document["subtasks"]:
        if subtask["status"] == "FAILED":
            log = client.log(document["id"], subtask["id"])
            print(f"\n{subtask['name']} failed:\n{log}", file=sys.stderr)
            failures = [failure for line in log.splitlines() if (failure := failed_rules.parse(line))]
            for failure in failures[-1:]:  # earlier ones belong to earlier executions
                Console(stderr=True).print(tables.failed_rules(failure))


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
