"""Runs the service itself, for `serve`, `worker` and `migrate`."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.app import create_app
from service.http import uvicorn_server
from service.inventory.reader import InventoryReader, of_settings
from service.model.settings import Settings, take
from service.observe import logs, metrics, tracing
from service.runs.process_tree import disable_core_dumps
from service.store.keyring import ADMIN_PASSWORD
from service.tasks.resources import Resources, open_resources
from service.worker import worker


def serve() -> None:
    """Run the HTTP server, and the worker unless a setting excludes it."""
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


def run_worker() -> None:
    """Run a worker until SIGINT or SIGTERM."""
    disable_core_dumps()
    settings = _settings()
    tracing.start(settings.otel_endpoint)
    inventory = _inventory(settings)

    async def work() -> None:
        async with tracing.flushing(), open_resources(settings, inventory) as resources, worker.running(resources):
            await _until_signal()

    with metrics.metrics_server(settings.host, settings.worker_metrics_port):
        asyncio.run(work())


def migrate() -> None:
    """Open the database once, which migrates it."""
    settings = _settings()

    async def open_once() -> None:
        async with open_resources(settings):
            pass

    asyncio.run(open_once())


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
