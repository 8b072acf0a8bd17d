"""The command line `python -m service …`: its commands, and `serve`, `worker` and `migrate`."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from service import __version__
from service.app import create_app
from service.cli import audit, control, discoveries, fleet, keys, requests, submit, tasks, users
from service.cli.errors import ClientError
from service.cli.examples import examples
from service.http import uvicorn_server
from service.inventory.reader import InventoryReader, of_settings
from service.model.errors import TakeoverError
from service.model.settings import Settings, take
from service.observe import logs, metrics, tracing
from service.runs.process_tree import disable_core_dumps
from service.store.database_errors import explain
from service.store.keyring import ADMIN_PASSWORD
from service.tasks.resources import Resources, open_resources
from service.worker import worker

EXAMPLES = examples(
    ("serve", "run the service with its worker"),
    ("submit test odp-1:2883 --watch", "take over host odp-1 into OBProxy cluster test, and watch"),
    ("tasks --status FAILED", "list failed task instances"),
    ("log odp-1 --follow", "follow the log of what runs on host odp-1"),
    ("request watch 12", "watch all hosts of request 12"),
    ("retry 7 --watch", "retry the failed subtasks of task instance 7, and watch"),
)

main = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=EXAMPLES,
)
main.add_typer(submit.submissions)
main.add_typer(tasks.tasks)
main.add_typer(control.control)
main.add_typer(requests.requests)
main.add_typer(requests.request, name="request")
main.add_typer(fleet.fleet)
main.add_typer(fleet.cluster, name="cluster")
main.add_typer(fleet.host, name="host")
main.add_typer(discoveries.listing)
main.add_typer(audit.audit)
main.add_typer(users.user, name="user")
main.add_typer(users.access_key, name="accesskey")
main.add_typer(keys.key, name="key")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"obproxy-takeover {__version__}")
        raise typer.Exit


@main.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take over running OBProxy processes into managed OBProxy clusters."""


@main.command(epilog=examples(("serve", "run the service at http://127.0.0.1:8080 with an embedded database")))
def serve() -> None:
    """Run the service: HTTP server and worker.

    With TAKEOVER_WORKER=false it runs the HTTP server alone. docs/settings.md has all settings.
    """
    disable_core_dumps()
    settings = _settings()
    tracing.start(settings.otel_endpoint)
    background = [_export_traces, _print_password_file, *([worker.running] if settings.worker else [])]
    app = create_app(settings, inventory=_inventory(settings), background=background)
    server = uvicorn_server.create_server(
        app, settings, lifespan=app.router.lifespan_context(app), on_shutdown=lambda: app.state.notifications.close()
    )
    server.run()
    if not server.started:
        raise SystemExit(1)


@main.command("worker", epilog=examples(("worker", "run takeovers of the database in TAKEOVER_DATABASE_URL")))
def run_worker() -> None:
    """Run a worker without HTTP server. Workers on several machines can share a database."""
    disable_core_dumps()
    settings = _settings()
    tracing.start(settings.otel_endpoint)
    inventory = _inventory(settings)

    async def work() -> None:
        async with tracing.flushing(), open_resources(settings, inventory) as resources, worker.running(resources):
            await _until_signal()

    with metrics.metrics_server(settings.host, settings.worker_metrics_port):
        asyncio.run(work())


@main.command(epilog=examples(("migrate", "migrate the database in TAKEOVER_DATABASE_URL")))
def migrate() -> None:
    """Migrate the database to the schema of this version.

    `serve` and `worker` do it as well.
    """
    settings = _settings()

    async def open_once() -> None:
        async with open_resources(settings):
            pass

    asyncio.run(open_once())


def run() -> None:
    """Run the program. Exit with one sentence instead of a traceback on errors that the user can correct."""
    try:
        main()
    except Exception as error:
        sentence = str(error) if isinstance(error, (TakeoverError, ClientError)) else explain(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        raise SystemExit(error.exit_status if isinstance(error, ClientError) else 1) from None


def _inventory(settings: Settings) -> InventoryReader:
    """Read the inventory before anything else starts. Raise InventoryUnreadable, which stops the start."""
    inventory = of_settings(settings)
    asyncio.run(inventory.current())
    return inventory


def _settings() -> Settings:
    settings = take()
    logs.configure(settings.log_level, settings.log_format)
    return settings


@asynccontextmanager
async def _print_password_file(resources: Resources) -> AsyncIterator[None]:
    """Print the path of the file with the administrator's first password, if that file exists."""
    file = resources.settings.data_dir / ADMIN_PASSWORD
    if file.exists():
        print(f"Password of admin: {file.absolute()}", file=sys.stderr, flush=True)
    yield


@asynccontextmanager
async def _export_traces(resources: Resources) -> AsyncIterator[None]:
    """Export traces during the lifespan. After a signal the server ends the process, so code after it never runs."""
    async with tracing.flushing():
        yield


async def _until_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
