"""The command line for callers: ask for takeovers, watch them, control them; against a service here or elsewhere."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from service import progress
from service.client import Client, Document, read_password

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_PASSWORD_FILE = Path("data/admin-password")

Url = Annotated[str, typer.Option(envvar="OBPROXY_TAKEOVER_URL", help="Where the service is.")]
User = Annotated[str, typer.Option(envvar="OBPROXY_TAKEOVER_USER", help="Who asks.")]
PasswordFile = Annotated[
    Path, typer.Option(envvar="OBPROXY_TAKEOVER_PASSWORD_FILE", help="File with the user's password.")
]
TaskId = Annotated[int, typer.Argument(help="Task instance.")]
SubtaskId = Annotated[int, typer.Argument(help="Subtask of it.")]
OptionalSubtaskId = Annotated[int | None, typer.Argument(help="Subtask of it; without one, the task instance.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

tasks = typer.Typer()


@tasks.command()
def submit(
    cluster_id: Annotated[int, typer.Argument(help="OBProxy cluster to take over into.")],
    host: Annotated[list[str], typer.Argument(help="HOST_ID or HOST_ID:SQL_PORT, each.")],
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
) -> None:
    """Ask for a takeover, and print the ids of its task instances: `submit 1 1:2883 2:2883`."""
    with_ports = [entry.partition(":") for entry in host]
    if not all(host_id.isdigit() and (port or "2883").isdigit() for host_id, _, port in with_ports):
        raise SystemExit(f"Each host must be HOST_ID or HOST_ID:SQL_PORT, found: {' '.join(host)}")
    hosts = [{"hostId": int(host_id), "sqlPort": int(port or 2883)} for host_id, _, port in with_ports]
    with _client(url, user, password_file) as client:
        for document in client.take_over(cluster_id, hosts):
            print(document["id"])


@tasks.command()
def watch(
    task_id: Annotated[list[int], typer.Argument(help="Task instances to watch.")],
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
    as_json: AsJson = False,
) -> None:
    """Show task instances filling until all have ended; exits with 1 when one has failed: `watch 7 8`."""
    with _client(url, user, password_file) as client:
        documents = _watch_live(client, task_id) if sys.stdout.isatty() else _watch_lines(client, task_id, as_json)
        if as_json:
            _print_json(documents)
        for document in documents:
            _print_failures(client, document)
    raise SystemExit(any(document["status"] == "FAILED" for document in documents))


@tasks.command("tasks")
def list_tasks(
    status: Annotated[str, typer.Option(help="RUNNING, FAILED, SUCCESSFUL; several with commas.")] = "",
    host_id: Annotated[int | None, typer.Option(help="Only of this host.")] = None,
    page: int = 1,
    size: int = 20,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
    as_json: AsJson = False,
) -> None:
    """List task instances, the newest first: `tasks --status RUNNING,FAILED`."""
    narrowed: dict[str, str | int] = {"page": page, "size": size, "status": status}
    if host_id is not None:
        narrowed["hostId"] = host_id
    with _client(url, user, password_file) as client:
        found = client.tasks(**narrowed)
    if as_json:
        _print_json(found)
    else:
        Console().print(progress.overview(found))


@tasks.command()
def show(
    task_id: TaskId,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
    as_json: AsJson = False,
) -> None:
    """Show one task instance as it is now, and what may be asked of it: `show 7`."""
    with _client(url, user, password_file) as client:
        document = client.task(task_id)
    if as_json:
        _print_json(document)
    else:
        Console().print(progress.table([document]))
        for line in progress.legal_operations(document):
            print(line)


@tasks.command()
def log(
    task_id: TaskId,
    subtask_id: SubtaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the subtask has ended.")] = False,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
) -> None:
    """Print what a subtask's runs have said: `log 7 78 -f`."""
    with _client(url, user, password_file) as client:
        if follow:
            for piece in client.follow_log(task_id, subtask_id):
                print(piece, flush=True)
        else:
            print(client.log(task_id, subtask_id))


@tasks.command()
def retry(
    task_id: TaskId,
    subtask_id: OptionalSubtaskId = None,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
) -> None:
    """Go on at what has failed: `retry 7`, or `retry 7 78` for one subtask."""
    _control("retry", task_id, subtask_id, url, user, password_file)


@tasks.command()
def skip(
    task_id: TaskId,
    subtask_id: SubtaskId,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
) -> None:
    """Take a failed subtask for done, and go on behind it: `skip 7 78`."""
    _control("skip", task_id, subtask_id, url, user, password_file)


@tasks.command()
def cancel(
    task_id: TaskId,
    subtask_id: SubtaskId,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
) -> None:
    """End a running subtask: `cancel 7 78`."""
    _control("cancel", task_id, subtask_id, url, user, password_file)


@tasks.command()
def rollback(
    task_id: TaskId,
    url: Url = DEFAULT_URL,
    user: User = "admin",
    password_file: PasswordFile = DEFAULT_PASSWORD_FILE,
) -> None:
    """Undo what a failed task instance has done, the last first: `rollback 7`."""
    _control("rollback", task_id, None, url, user, password_file)


def _control(operation: str, task_id: int, subtask_id: int | None, url: str, user: str, password_file: Path) -> None:
    with _client(url, user, password_file) as client:
        client.control(operation, task_id, subtask_id)


def _client(url: str, user: str, password_file: Path) -> Client:
    return Client(url, read_password(password_file), user=user)


def _watch_live(client: Client, task_ids: Sequence[int]) -> list[Document]:
    documents: list[Document] = []
    with Live(console=Console(), auto_refresh=False) as live:
        for documents in client.watch(task_ids):
            live.update(progress.table(documents), refresh=True)
    return documents


def _watch_lines(client: Client, task_ids: Sequence[int], silent: bool) -> list[Document]:
    documents: list[Document] = []
    printed: set[str] = set()
    for documents in client.watch(task_ids):
        new = [line for line in progress.lines(documents) if line not in printed]
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
