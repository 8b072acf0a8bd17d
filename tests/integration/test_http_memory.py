"""Memory exhaustion: many large requests at once cost the process no more than its limits allow."""

import asyncio
import base64
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.http.uvicorn_server import HEADER_LIMIT
from service.model.settings import PROJECT, Settings

DEADLINE = 180.0  # seconds to start, and for each attack
BODY_LIMIT = 128 * 1024
CONNECTIONS = 60
OFFERED = 4 * 1024 * 1024  # bytes that each of them would send if it were let
COPIES = 4  # of a body: as it comes, as a whole, on its way, and read
NOISE = 48 * 1024 * 1024  # bytes that the process may come to need meanwhile for anything else
BOUND = CONNECTIONS * (COPIES * BODY_LIMIT + 4 * HEADER_LIMIT) + NOISE
PIECE = b"x" * 16_384

STRANGER = b"Authorization: OCP-ACCESS-KEY-HMACSHA1 AAAAAAAAAAAAAAAA:AAAA\r\n"
POST = b"POST /api/v2/obproxy/clusters/1/takeOver HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A process of its own."""

    pid: int
    port: int
    login: bytes  # the header of the administrator

    def memory(self, kind: str) -> int:
        """Bytes: VmRSS is what it has, VmHWM the most it ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        found = re.search(rf"^{kind}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found
        return int(found[1]) * 1024


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    values = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "INVENTORY": str(settings.inventory),
        "DATA_DIR": str(settings.data_dir),
        "BODY_LIMIT": str(BODY_LIMIT),
        "PORT": str(port),
        "WORKER": "false",
    }
    environment = {**os.environ, **{f"TAKEOVER_{name}": value for name, value in values.items()}}
    process = subprocess.Popen([sys.executable, "-m", "service", "serve"], env=environment, cwd=PROJECT)
    try:
        wait_for(process, port)
        password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
        given = base64.b64encode(f"admin:{password}".encode())
        # A password is checked once, with 64 MiB, and remembered.
        httpx.get(f"http://127.0.0.1:{port}/api/v2/info", auth=("admin", password), timeout=DEADLINE).raise_for_status()
        yield Service(pid=process.pid, port=port, login=b"Authorization: Basic " + given + b"\r\n")
    finally:
        process.terminate()
        process.wait(DEADLINE)


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + DEADLINE
    while True:
        assert process.poll() is None and time.monotonic() < until, "the service did not start"
        with suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/api/status")
            return
        time.sleep(0.05)


async def endless_body(head: bytes) -> AsyncIterator[bytes]:
    yield head + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(OFFERED // len(PIECE)):
        yield b"%x\r\n%s\r\n" % (len(PIECE), PIECE)


async def body_that_never_ends(head: bytes) -> AsyncIterator[bytes]:
    """All but the last byte of what is allowed."""
    yield head + b"Content-Length: %d\r\n\r\n" % BODY_LIMIT
    yield b" " * (BODY_LIMIT - 1)
    await asyncio.sleep(5)


async def endless_head(head: bytes) -> AsyncIterator[bytes]:
    yield head
    for number in range(OFFERED // len(PIECE)):
        yield b"X-%d: %s\r\n" % (number, PIECE)


async def requests_without_end(head: bytes) -> AsyncIterator[bytes]:
    """Send requests one after the other without reading the responses."""
    one = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n" + head.partition(b"json\r\n")[2] + b"\r\n"
    for _ in range(OFFERED // len(one)):
        yield one


async def empty_objects(head: bytes) -> AsyncIterator[bytes]:
    """Small as text, large as anything else."""
    body = b'{"events":[' + b",".join([b"{}"] * (BODY_LIMIT // 3 - 10)) + b"]}"
    external = head.replace(b"clusters/1/takeOver", b"externalRuns")
    yield external + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


ATTACKS = [endless_body, body_that_never_ends, endless_head, requests_without_end, empty_objects]


async def attack(service: Service, sent: AsyncIterator[bytes]) -> None:
    """Send until the service has enough; nothing is read but the first of its answer, when all is sent."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=4096)
        try:
            async for piece in sent:
                writer.write(piece)
                async with asyncio.timeout(2):
                    await writer.drain()
            async with asyncio.timeout(2):
                await reader.read(1)
        except TimeoutError:  # it takes no more
            pass
        finally:
            writer.transport.abort()


async def until_okay(service: Service) -> None:
    """Wait until the service is ready again: pending requests of the attack can delay its check of the database."""
    async with asyncio.timeout(DEADLINE), httpx.AsyncClient(timeout=DEADLINE) as http:
        while (await http.get(f"http://127.0.0.1:{service.port}/api/status")).text != "okay":
            await asyncio.sleep(0.1)


def test_a_crash_writes_no_core_file(service: Service) -> None:
    limits = Path(f"/proc/{service.pid}/limits").read_text(encoding="utf-8")

    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


@pytest.mark.parametrize("known", [True, False], ids=["a user", "a stranger"])
async def test_many_at_once_cost_no_more_than_their_limits(
    service: Service, known: bool, subtests: pytest.Subtests
) -> None:
    assert CONNECTIONS * OFFERED > 2 * BOUND, "without limits it would be more"
    head = POST + (service.login if known else STRANGER)
    for kind in ATTACKS:
        with subtests.test(kind.__name__):
            before = service.memory("VmRSS")
            Path(f"/proc/{service.pid}/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*(attack(service, kind(head)) for _ in range(CONNECTIONS)))
            grown = service.memory("VmHWM") - before

            assert grown < BOUND
            await until_okay(service)
