"""The application on a real socket: in a thread of its own, for callers that are not asynchronous, or in theirs."""

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.applications import Starlette

from service.app import create_app
from service.http import uvicorn_server
from service.model.settings import Settings

DEADLINE = 60.0  # seconds to start or to stop


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Yield the URL of the service with `settings`, without a worker."""
    app = create_app(settings)
    server = uvicorn_server.create_server(
        app, settings, lifespan=app.router.lifespan_context(app), on_shutdown=lambda: app.state.notifications.close()
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="service")
    thread.start()
    try:
        until = time.monotonic() + DEADLINE
        while not server.started:
            assert thread.is_alive() and time.monotonic() < until, "the service did not start"
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the service did not stop"


@asynccontextmanager
async def listening(app: Starlette, settings: Settings) -> AsyncIterator[tuple[str, int]]:
    """Serve `app`, which has been started, and yield its address."""
    server = uvicorn_server.create_server(app, settings)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(DEADLINE):
        while not server.started:
            await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    yield host, port
    server.should_exit = True
    async with asyncio.timeout(DEADLINE):
        await serving


def authorization(settings: Settings) -> bytes:
    """Return the Authorization header of the administrator, as a line of a request."""
    password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
    return b"Authorization: Basic " + base64.b64encode(f"admin:{password}".encode()) + b"\r\n"
