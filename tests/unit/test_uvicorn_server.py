"""The socket: slow-client timeouts, size limits, trusted proxies, TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.http import uvicorn_server
from service.http.security_headers import SECURITY_HEADERS, SecurityHeadersMiddleware
from service.model.errors import SettingsInvalid
from service.model.settings import Settings

DEADLINE = 60.0  # seconds any exchange may take
PATIENCE = 0.3  # seconds a slow caller is given in these tests

Serve = Callable[[Settings], AbstractAsyncContextManager[tuple[str, int]]]


async def who(request: Request) -> Response:
    body = await request.body()
    assert request.client
    return JSONResponse({"client": request.client.host, "scheme": request.url.scheme, "n": len(body)})


async def much(request: Request) -> Response:
    return PlainTextResponse("x" * 50_000_000)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts of the service."""
    for name in ("HEADER_TIMEOUT", "BODY_TIMEOUT", "WRITE_TIMEOUT"):
        monkeypatch.setattr(uvicorn_server, name, PATIENCE)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[str, int]]:
    """Yield the address of a small application."""
    routes = [Route("/", who, methods=["GET", "POST"]), Route("/much", much)]
    app = SecurityHeadersMiddleware(Starlette(routes=routes, exception_handlers={ClientDisconnect: _hung_up}))
    server = uvicorn_server.create_server(app, settings)
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(DEADLINE):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        async with asyncio.timeout(DEADLINE):
            await running


async def _hung_up(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


PLAIN = Settings(port=0)


async def cut_off(address: tuple[str, int], *pieces: bytes, every: float = 0.0) -> bytes:
    """Send `pieces` with pauses, and return the response until the connection ends."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(*address)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(every)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
SLOW = {
    "says nothing": [],
    "begins a head": [b"GET / HTTP/1.1\r\nHost:"],
    "sends a head byte by byte": [b"GET / HTTP/1.1\r\n", *([b"a: b\r\n"] * 20)],
    "begins a body": [HEAD, b"x"],
    "sends a body byte by byte": [HEAD, *([b"x"] * 20)],
    "begins a second head": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET"],
}


@pytest.mark.parametrize("pieces", SLOW.values(), ids=SLOW)
async def test_who_is_slow_is_cut_off(pieces: list[bytes], impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(PLAIN) as address:
        started = asyncio.get_running_loop().time()
        answer = await cut_off(address, *pieces, every=PATIENCE / 5)

        assert PATIENCE * 0.9 < asyncio.get_running_loop().time() - started < DEADLINE
        assert answer.count(b"HTTP/1.1 200") == (1 if pieces[1:] == [b"GET"] else 0)
        monkeypatch.undo()  # the next one may be slow itself, on a busy machine
        next_one = await cut_off(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert next_one.startswith(b"HTTP/1.1 200")


async def test_who_does_not_listen_is_cut_off(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = asyncio.Event()

    class Observed(uvicorn_server.SlowClientTimeoutProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    monkeypatch.setattr(uvicorn_server, "SlowClientTimeoutProtocol", Observed)
    async with serving(PLAIN) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            await lost.wait()
        received = 0
        async with asyncio.timeout(DEADLINE):
            try:
                while piece := await reader.read(1_000_000):
                    received += len(piece)
            except ConnectionError:
                pass
        writer.close()

        assert 0 < received < 50_000_000


async def test_who_is_in_time_is_served_however_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADER_TIMEOUT", "BODY_TIMEOUT", "WRITE_TIMEOUT"):
        monkeypatch.setattr(uvicorn_server, name, PATIENCE * 5)
    async with serving(PLAIN) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
        for _ in range(4):
            assert (await http.post("/", content=b"x" * 200_000)).json()["n"] == 200_000
            await asyncio.sleep(PATIENCE * 2)
        assert len((await http.get("/much")).content) == 50_000_000


async def test_a_head_that_comes_at_once_has_the_same_limit() -> None:
    async with serving(PLAIN) as address:
        start = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\na: "
        fits = await cut_off(address, start + b"b" * (uvicorn_server.HEADER_LIMIT - 1000) + b"\r\n\r\n")
        does_not = await cut_off(
            address, start + b"b" * (uvicorn_server.HEADER_LIMIT + uvicorn_server.READ_SIZE) + b"\r\n\r\n"
        )

    assert fits.startswith(b"HTTP/1.1 200")
    assert does_not.startswith(b"HTTP/1.1 400") or not does_not


async def test_a_head_without_end_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(PLAIN) as address:
        answer = await cut_off(address, b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * uvicorn_server.HEADER_LIMIT * 2)

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
async def test_only_a_trusted_proxy_says_where_a_request_comes_from(trusted: str, forwarded: str, seen: str) -> None:
    settings = Settings(port=0, trusted_proxies=trusted)
    async with serving(settings) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
        answer = await http.get("/", headers={"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"})

    assert answer.json()["client"] == seen
    assert answer.json()["scheme"] == ("http" if seen == "127.0.0.1" else "https")
    assert ("strict-transport-security" in answer.headers) is (seen != "127.0.0.1")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate for 127.0.0.1; its key lies beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    number = x509.random_serial_number()
    builder = x509.CertificateBuilder(name, name, key.public_key(), number, now, now + timedelta(1))
    made = builder.sign(key, hashes.SHA256())
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    (tmp_path / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return tmp_path / "certificate.pem"


async def test_with_a_certificate_it_is_tls(certificate: Path) -> None:
    settings = Settings(port=0, tls_certificate=certificate, tls_key=certificate.parent / "key.pem")
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    async with (
        serving(settings) as (host, port),
        httpx.AsyncClient(verify=context) as http,
    ):
        answer = await http.get(f"https://{host}:{port}/")

        assert answer.json()["scheme"] == "https"
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"http://{host}:{port}/")


def test_a_certificate_that_is_none_names_itself(certificate: Path) -> None:
    with pytest.raises(SettingsInvalid, match="TAKEOVER_TLS_CERTIFICATE"):
        uvicorn_server.create_server(Starlette(), Settings(tls_certificate=Path(__file__), tls_key=Path(__file__)))


async def test_every_answer_has_the_security_headers() -> None:
    async with serving(PLAIN) as (host, port), httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
        for path in ("/", "/nowhere"):
            answer = await http.get(path)
            assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
            assert "server" not in answer.headers
            assert "strict-transport-security" not in answer.headers
