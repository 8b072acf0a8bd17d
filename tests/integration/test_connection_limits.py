"""Clients with many connections, and a process with few descriptors: health checks and other clients still get in."""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette

from service.http import uvicorn_server
from service.http.connection_limits import Limits
from service.model.settings import PROJECT, Settings
from tests.integration.running_service import authorization, listening
from tests.lab.service import free_port

DEADLINE = 60.0  # seconds of any exchange, and of a start
LIMITS = Limits(connections=12, busy=8, per_address=4, backlog=100)
DESCRIPTORS = 64
Address = tuple[str, int]


@pytest.fixture
async def address(app: Starlette, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Address]:
    """Yield the address of the application, which has small limits."""
    monkeypatch.setattr(uvicorn_server, "limits_of_process", lambda: LIMITS)
    async with listening(app, settings) as found:
        yield found


@pytest.fixture
def login(app: Starlette, settings: Settings) -> bytes:
    """Return the Authorization header of the administrator."""
    return authorization(settings)


@asynccontextmanager
async def connected(
    address: Address, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def get(address: Address, path: str, *headers: bytes, source: str = "127.0.0.1") -> tuple[int, bytes]:
    """Return status and content of one request on a connection of its own."""
    async with asyncio.timeout(DEADLINE), connected(address, source) as (reader, writer):
        lines = [f"GET {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", *headers, b"", b""]
        writer.write(b"\r\n".join(lines))
        content = await reader.read()
    return int(content.split(b" ", 2)[1]), content


async def test_silent_connections_of_one_address_keep_no_other_out(address: Address, login: bytes) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(connected(address)) for _ in range(30)]

        for path in ("/health/live", "/api/v2/info"):
            for source in ("127.0.0.1", "127.0.0.2"):
                assert (await get(address, path, login.strip(), source=source))[0] == 200
        async with asyncio.timeout(DEADLINE):
            assert await silent[0][0].read() == b"", "the oldest one is closed"


async def test_silent_connections_of_many_addresses_keep_no_other_out(address: Address, login: bytes) -> None:
    async with AsyncExitStack() as stack:
        for number in range(30):
            await stack.enter_async_context(connected(address, f"127.0.1.{number + 1}"))

        for path in ("/health/live", "/api/v2/info"):
            assert (await get(address, path, login.strip()))[0] == 200


async def test_with_too_many_requests_in_progress_only_health_checks_pass(address: Address, login: bytes) -> None:
    async with AsyncExitStack() as stack:
        for number in range(LIMITS.busy):
            source = f"127.0.1.{number % 4 + 1}"
            reader, writer = await stack.enter_async_context(connected(address, source))
            writer.write(b"GET /api/v2/tasks/events HTTP/1.1\r\nHost: x\r\n" + login + b"\r\n")
            async with asyncio.timeout(DEADLINE):
                assert b"200" in await reader.readline()

        status, content = await get(address, "/api/v2/info", login.strip())
        assert status == 503
        assert b"retry-after: 1" in content.lower() and b"8 requests in progress" in content
        assert (await get(address, "/health/live"))[0] == (await get(address, "/health/ready"))[0] == 200


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


async def test_a_process_with_few_descriptors_stays_healthy(database_url: str, tmp_path: Path) -> None:
    port = free_port(0)
    environment = {
        "PATH": "/usr/bin:/bin",
        "TAKEOVER_PORT": str(port),
        "TAKEOVER_DATA_DIR": str(tmp_path / "data"),
        "TAKEOVER_DATABASE_URL": database_url,
        "TAKEOVER_WORKER": "false",
    }
    log = tmp_path / "log"
    command = [sys.executable, "-m", "service", "serve"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=output, preexec_fn=limited)
    try:
        address = ("127.0.0.1", port)
        deadline = time.monotonic() + DEADLINE
        while not await is_live(address):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            await asyncio.sleep(0.1)
        started = len(log.read_text().splitlines())

        async with AsyncExitStack() as stack:
            for number in range(100):
                await stack.enter_async_context(connected(address, f"127.0.1.{number + 1}"))
            for _ in range(3):
                assert (await get(address, "/health/ready"))[0] == 200

        assert log.read_text().splitlines()[started:] == []
    finally:
        process.terminate()
        process.wait(DEADLINE)


async def is_live(address: Address) -> bool:
    try:
        return (await get(address, "/health/live"))[0] == 200
    except OSError:
        return False
