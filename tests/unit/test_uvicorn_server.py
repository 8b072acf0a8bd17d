"""The socket: slow-client timeouts, size limits, trusted proxies, TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.http import tls_handshake, uvicorn_server
from service.http.connection_limits import Connection, Connections, Limits, limits_for
from service.http.security_headers import SECURITY_HEADERS, SecurityHeadersMiddleware
from service.model.errors import SettingsInvalid
from service.model.settings import Settings

DEADLINE = 60.0  # seconds any exchange may take
LARGE = 50_000_000  # bytes of a response
CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass(kw_only=True)
class Timer:
    """A timer of a connection, which fires when the test calls `fire`."""

    delay: float
    callback: Callable[..., object]
    arguments: tuple[object, ...]
    is_pending: bool = True

    def cancel(self) -> None:
        self.is_pending = False

    def fire(self) -> None:
        self.cancel()
        self.callback(*self.arguments)


class ManualLoop:
    """The event loop of a connection, with timers that the test fires."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.timers: list[Timer] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: object) -> Timer:
        self.timers.append(Timer(delay=delay, callback=callback, arguments=arguments))
        return self.timers[-1]

    @property
    def delays(self) -> list[float]:
        """The delays of all timers so far, in the order of their starts."""
        return [timer.delay for timer in self.timers]

    @property
    def pending(self) -> list[Timer]:
        """The timers that were neither canceled nor fired."""
        return [timer for timer in self.timers if timer.is_pending]


class Observed(uvicorn_server.SlowClientTimeoutProtocol):
    """A connection with manual timers. `made` are all of a test."""

    made: ClassVar[list["Observed"]] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.received, self.is_lost = 0, False
        self.manual = ManualLoop(self.loop)
        self.loop = self.manual  # type: ignore[assignment]
        self.made.append(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.received += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Observed]:
    """Let the server make connections with manual timers; return those that it makes."""
    monkeypatch.setattr(uvicorn_server, "SlowClientTimeoutProtocol", Observed)
    monkeypatch.setattr(uvicorn_server, "WRITE_TIMEOUT", WRITE)
    monkeypatch.setattr(Observed, "made", [])
    return Observed.made


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.001)


async def client_address(request: Request) -> Response:
    body = await request.body()
    assert request.client
    return JSONResponse({"client": request.client.host, "scheme": request.url.scheme, "n": len(body)})


async def large(request: Request) -> Response:
    return PlainTextResponse("x" * LARGE)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[str, int]]:
    """Yield the address of a small application."""
    routes = [Route("/", client_address, methods=["GET", "POST"]), Route("/large", large)]
    app = SecurityHeadersMiddleware(Starlette(routes=routes, exception_handlers={ClientDisconnect: _hung_up}))
    server = uvicorn_server.create_server(app, settings)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        async with asyncio.timeout(DEADLINE):
            await running


async def _hung_up(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


PLAIN = Settings(port=0)


@asynccontextmanager
async def connecting(address: tuple[str, int]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection, and abort it at the end."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """Send `request`, and return the response until the connection ends."""
    async with asyncio.timeout(DEADLINE), connecting(address) as (reader, writer):
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read()
        except ConnectionError:
            return b""


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
HEADERS, BODY, IDLE = uvicorn_server.HEADER_TIMEOUT, uvicorn_server.BODY_TIMEOUT, uvicorn_server.KEEP_ALIVE
WRITE = uvicorn_server.WRITE_TIMEOUT + 1  # seconds; another number than that of the body
SLOW = {  # pieces that a client sends, and the timers that the server starts
    "nothing": ([], [HEADERS]),
    "incomplete headers": ([b"GET / HTTP/1.1\r\nHost:"], [HEADERS]),
    "headers in small pieces": ([b"GET / HTTP/1.1\r\n", *([b"a: b\r\n"] * 20)], [HEADERS]),
    "incomplete body": ([POST, b"x"], [HEADERS, BODY]),
    "body in small pieces": ([POST, *([b"x"] * 20)], [HEADERS, BODY]),
    "incomplete second headers": ([GET, b"GET"], [HEADERS, IDLE, HEADERS]),
    "incomplete body after a response": ([GET, POST, b"x"], [HEADERS, IDLE, BODY]),
    "idle after a response": ([GET], [HEADERS, IDLE]),
}


async def send(connection: Observed, writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send `piece`, and wait until the service has read it and answered a complete request."""
    end = connection.received + len(piece)
    writer.write(piece)
    await until(lambda: connection.received == end)
    if piece == GET:
        await until(lambda: connection.timeout_keep_alive_task)


@pytest.mark.parametrize(("pieces", "delays"), SLOW.values(), ids=SLOW)
async def test_a_slow_client_is_disconnected_at_its_deadline(
    pieces: list[bytes], delays: list[float], connections: list[Observed]
) -> None:
    async with serving(PLAIN) as address, connecting(address) as (reader, writer):
        await until(lambda: connections)
        (connection,) = connections
        for piece in pieces:
            await send(connection, writer, piece)

        assert connection.manual.delays == delays
        (timer,) = connection.manual.pending
        timer.fire()
        async with asyncio.timeout(DEADLINE):
            response = await reader.read()

        assert response.count(b"HTTP/1.1 200") == pieces.count(GET)
        assert (await exchange(address, CLOSE)).startswith(b"HTTP/1.1 200")


async def test_a_client_that_reads_nothing_is_disconnected(connections: list[Observed]) -> None:
    async with serving(PLAIN) as address, connecting(address) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: connections and WRITE in connections[0].manual.delays)
        (connection,) = connections

        def fire() -> bool:  # repeatedly: buffers of the kernel take some of it
            for timer in connection.manual.pending:
                if timer.delay == WRITE:
                    timer.fire()
            return connection.is_lost

        await until(fire)
        received = 0
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionError):
                while piece := await reader.read(1_000_000):
                    received += len(piece)

        assert 0 < received < LARGE


async def test_a_client_that_reads_slowly_gets_the_whole_response(connections: list[Observed]) -> None:
    async with serving(PLAIN) as address, connecting(address) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = fired = 0
        async with asyncio.timeout(DEADLINE):
            while piece := await reader.read(1_000_000):
                received += len(piece)
                for timer in connections[0].manual.pending:
                    unsent = connections[0].transport.get_write_buffer_size()
                    if timer.delay == WRITE and has_read_enough(timer, unsent):
                        timer.fire()
                        fired += 1

        assert fired > 10
        assert received > LARGE


def has_read_enough(timer: Timer, unsent: int) -> bool:
    """Return whether the client has read enough since the timer was started, which knows what was unsent then."""
    (before,) = timer.arguments
    assert isinstance(before, int)
    return before - unsent >= uvicorn_server.WRITE_PROGRESS


async def test_a_fast_client_gets_no_deadline_between_requests(connections: list[Observed]) -> None:
    async with serving(PLAIN) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
        for _ in range(4):
            assert (await http.post("/", content=b"x" * 200_000)).json()["n"] == 200_000
            (connection,) = connections
            await until(lambda: connections[0].timeout_keep_alive_task)
            assert [timer.delay for timer in connection.manual.pending] == [IDLE]


async def test_headers_that_arrive_at_once_have_the_same_limit() -> None:
    async with serving(PLAIN) as address:
        start = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\na: "
        fits = await exchange(address, start + b"b" * (uvicorn_server.HEADER_LIMIT - 1000) + b"\r\n\r\n")
        does_not = await exchange(
            address, start + b"b" * (uvicorn_server.HEADER_LIMIT + uvicorn_server.READ_SIZE) + b"\r\n\r\n"
        )

    assert fits.startswith(b"HTTP/1.1 200")
    assert does_not.startswith(b"HTTP/1.1 400") or not does_not


async def test_unlimited_headers_are_rejected(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(PLAIN) as address:
        answer = await exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * uvicorn_server.HEADER_LIMIT * 2)

    assert answer.startswith(b"HTTP/1.1 400") or not answer  # the rest of the request may reset the connection
    assert "Invalid HTTP request received." in caplog.text


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        ("", "192.0.2.7", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.7", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.0/8", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1,192.0.2.7", "198.51.100.1, 192.0.2.7", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),
    ],
)
async def test_only_a_trusted_proxy_sets_the_client_address(trusted: str, forwarded: str, seen: str) -> None:
    settings = Settings(port=0, trusted_proxies=trusted)
    async with serving(settings) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
        answer = await http.get("/", headers={"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"})

    assert answer.json()["client"] == seen
    assert answer.json()["scheme"] == ("http" if seen == "127.0.0.1" else "https")
    assert ("strict-transport-security" in answer.headers) is (seen != "127.0.0.1")


@pytest.fixture
def encrypted(certificate: Path) -> Settings:
    """Return the settings of a server with TLS."""
    return Settings(port=0, tls_certificate=certificate, tls_key=certificate.parent / "key.pem")


async def test_with_a_certificate_it_is_tls(certificate: Path, encrypted: Settings) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    async with (
        serving(encrypted) as (host, port),
        httpx.AsyncClient(verify=context) as http,
    ):
        answer = await http.get(f"https://{host}:{port}/")

        assert answer.json()["scheme"] == "https"
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"http://{host}:{port}/")


async def test_an_unfinished_handshake_counts_as_a_connection(
    encrypted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(connections=6, busy=4, per_address=3, backlog=10)
    monkeypatch.setattr(uvicorn_server, "limits_of_process", lambda: limits)
    async with serving(encrypted) as address, AsyncExitStack() as stack:
        silent = [(await stack.enter_async_context(connecting(address)))[0] for _ in range(4)]
        context = ssl.create_default_context(cafile=str(encrypted.tls_certificate))
        context.check_hostname = False
        async with asyncio.timeout(DEADLINE), httpx.AsyncClient(verify=context) as http:
            assert (await http.get(f"https://{address[0]}:{address[1]}/")).status_code == 200
            assert [await reader.read() for reader in silent[:2]] == [b"", b""], "the oldest ones are closed"
        assert not any(reader.at_eof() for reader in silent[2:])


async def test_a_handshake_has_a_time_limit(encrypted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_handshake, "HANDSHAKE_TIMEOUT", 0.05)
    async with asyncio.timeout(DEADLINE), serving(encrypted) as address, connecting(address) as (reader, writer):
        writer.write(b"\x16\x03\x01")  # the beginning of a ClientHello
        assert await reader.read() == b""


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", CLOSE], ids=["nothing", "beginning", "no TLS"])
async def test_a_handshake_that_the_client_ends_leaves_nothing(
    encrypted: Settings, sent: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    added: list[Connection] = []
    opened = Connections(limits_for(1000))

    def add(connection: Connection) -> None:
        added.append(connection)
        Connections.add(opened, connection)

    monkeypatch.setattr(opened, "add", add)
    monkeypatch.setattr(uvicorn_server, "Connections", lambda *_, **__: opened)
    async with serving(encrypted) as address:
        async with connecting(address) as (_, writer):
            writer.write(sent)
            await until(lambda: added)
        await until(lambda: not opened._open)
    assert not caplog.records


async def test_a_stop_does_not_wait_for_handshakes(encrypted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_handshake, "HANDSHAKE_TIMEOUT", 10 * DEADLINE)
    async with AsyncExitStack() as stack:
        async with serving(encrypted) as address:
            reader, writer = await stack.enter_async_context(connecting(address))
            writer.write(b"\x16\x03\x01")
            await writer.drain()
        assert await reader.read() == b""


def test_an_invalid_certificate_is_named(certificate: Path) -> None:
    with pytest.raises(SettingsInvalid, match="TAKEOVER_TLS_CERTIFICATE"):
        uvicorn_server.create_server(Starlette(), Settings(tls_certificate=Path(__file__), tls_key=Path(__file__)))


async def test_every_answer_has_the_security_headers() -> None:
    async with serving(PLAIN) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
        for path in ("/", "/nowhere"):
            answer = await http.get(path)
            assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
            assert "server" not in answer.headers
            assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize("host", ["999.1.1.1", "no such host", "a" * 70])
def test_an_address_that_does_not_exist_is_named(host: str) -> None:
    with pytest.raises(SettingsInvalid) as error:
        uvicorn_server.create_server(PlainTextResponse("x"), Settings(host=host))

    assert str(error.value).startswith("TAKEOVER_HOST: it must be an address") and repr(host) in str(error.value)
