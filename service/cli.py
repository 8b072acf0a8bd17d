"""The command line: `python -m service …`."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from rich.console import Console
from rich.live import Live

from service import cli_users, progress, worker
from service.app import create_app
from service.client import Client, Document, Refused, read_password
from service.errors import TakeoverError
from service.resources import Resources, open_resources
from service.secrets import ADMIN_PASSWORD
from service.settings import Settings, take

main = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
main.add_typer(cli_users.user, name="user")
main.add_typer(cli_users.access_key, name="accesskey")

Url = Annotated[str, typer.Option(envvar="OBPROXY_TAKEOVER_URL", help="Where the service is.")]
PasswordFile = Annotated[Path, typer.Option(help="File with the administrator's password.")]


@main.command()
def serve() -> None:
    """Answer HTTP requests and, unless TAKEOVER_WORKER=false, run takeovers."""
    settings = _settings()
    app = create_app(settings, beside=[_say_password, *([worker.running] if settings.worker else [])])
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False
    )
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        raise SystemExit(1)


@main.command("worker")
def run_worker() -> None:
    """Run takeovers, and answer nobody: with the same database, on as many machines as it takes."""
    settings = _settings()

    async def work() -> None:
        async with open_resources(settings) as resources, worker.running(resources):
            await _until_signal()

    asyncio.run(work())


@main.command()
def migrate() -> None:
    """Bring the database to this version's schema; `serve` and `worker` do it as well."""
    settings = _settings()

    async def open_once() -> None:
        async with open_resources(settings):
            pass

    asyncio.run(open_once())


@main.command()
def submit(
    cluster_id: Annotated[int, typer.Argument(help="OBProxy cluster to take over into.")],
    host: Annotated[list[str], typer.Argument(help="HOST_ID or HOST_ID:SQL_PORT, each.")],
    url: Url = "http://127.0.0.1:8080",
    password_file: PasswordFile = Path("data/admin-password"),
) -> None:
    """Ask for a takeover, and print the ids of its task instances: `submit 1 1:2883 2:2883`."""
    with_ports = [entry.partition(":") for entry in host]
    if not all(host_id.isdigit() and (port or "2883").isdigit() for host_id, _, port in with_ports):
        raise SystemExit(f"Each host must be HOST_ID or HOST_ID:SQL_PORT, found: {' '.join(host)}")
    hosts = [{"hostId": int(host_id), "sqlPort": int(port or 2883)} for host_id, _, port in with_ports]
    with _ask(url, password_file) as client:
        for document in client.take_over(cluster_id, hosts):
            print(document["id"])


@main.command()
def watch(
    task_id: Annotated[list[int], typer.Argument(help="Task instances to watch.")],
    url: Url = "http://127.0.0.1:8080",
    password_file: PasswordFile = Path("data/admin-password"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the final documents as JSON.")] = False,
) -> None:
    """Show task instances filling until all have ended; exits with 1 when one has failed."""
    with _ask(url, password_file) as client:
        documents = _watch_live(client, task_id) if sys.stdout.isatty() else _watch_lines(client, task_id)
        if as_json:
            print(json.dumps(list(documents), indent=2, ensure_ascii=False))
        for document in documents:
            _print_failures(client, document)
    raise SystemExit(any(document["status"] == "FAILED" for document in documents))


def run() -> None:
    """The program: every refusal is one sentence, not a traceback."""
    try:
        main()
    except (TakeoverError, Refused) as error:
        raise SystemExit(str(error)) from None


def _watch_live(client: Client, task_ids: Sequence[int]) -> list[Document]:
    documents: list[Document] = []
    with Live(console=Console(), auto_refresh=False) as live:
        for documents in client.watch(task_ids):
            live.update(progress.table(documents), refresh=True)
    return documents


def _watch_lines(client: Client, task_ids: Sequence[int]) -> list[Document]:
    documents: list[Document] = []
    printed: set[str] = set()
    for documents in client.watch(task_ids):
        new = [line for line in progress.lines(documents) if line not in printed]
        printed.update(new)
        print("\n".join(new), flush=True, end="\n" if new else "")
    return documents


def _print_failures(client: Client, document: Document) -> None:
    for subtask in document["subtasks"]:
        if subtask["status"] == "FAILED":
            print(f"\n{subtask['name']} failed:\n{client.log(document['id'], subtask['id'])}", file=sys.stderr)


def _ask(url: str, password_file: Path) -> Client:
    return Client(url, read_password(password_file))


def _settings() -> Settings:
    settings = take()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return settings


@asynccontextmanager
async def _say_password(resources: Resources) -> AsyncIterator[None]:
    """Say where the administrator's first password is, for as long as it is there."""
    file = resources.settings.data_dir / ADMIN_PASSWORD
    if file.exists():
        print(f"Password of admin: {file.absolute()}", file=sys.stderr, flush=True)
    yield


async def _until_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
