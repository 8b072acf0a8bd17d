"""HTTP on a real socket: chunked bodies, disconnecting callers, bytes that are no request."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette

from service.model.settings import Settings
from service.tasks.resources import Resources
from tests.integration.http_helpers import count_rows, take_over_body
from tests.integration.running_service import authorization, listening

DEADLINE = 60.0  # seconds any exchange may take
LIMIT = 4096
BODY = json.dumps(take_over_body(1)).encode()

Address = tuple[str, int]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return a small limit, so that bodies above it are small."""
    return settings.model_copy(update={"body_limit": LIMIT})


@pytest.fixture
async def address(app: Starlette, settings: Settings) -> AsyncIterator[Address]:
    """Yield the address of the application."""
    async with listening(app, settings) as found:
        yield found


@pytest.fixture
def login(app: Starlette, settings: Settings) -> bytes:
    """Return the Authorization header of the administrator."""
    return authorization(settings)


async def exchange(address: Address, *pieces: bytes, hang_up: bool = False) -> tuple[int, bytes, bytes]:
    """Send `pieces` one by one and read to the end: status (0 = no answer), head and body."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(*address)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)  # so that they arrive as pieces
            if hang_up:
                return 0, b"", b""
            answer = await reader.read()
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if head else 0, head, body


def post(login: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /api/v2/obproxy/clusters/1/takeOver HTTP/1.1", b"Host: x", b"Connection: close"]
    return b"\r\n".join([*lines, b"Content-Type: application/json", *headers]) + b"\r\n" + login + b"\r\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


CHUNKED = b"Transfer-Encoding: chunked"


async def test_a_body_in_pieces_is_a_body(address: Address, login: bytes) -> None:
    pieces = [BODY[at : at + 7] for at in range(0, len(BODY), 7)]

    for sent in (
        [post(login, CHUNKED), *map(chunk, pieces), chunk(b"")],
        [post(login, b"Content-Length: %d" % len(BODY)), *pieces],
    ):
        status, _, body = await exchange(address, *sent)
        assert status in (200, 409), body  # the second one finds the host busy with the first
    assert status == 409


async def test_a_chunked_body_beyond_the_limit_ends_early(address: Address, login: bytes, app: Starlette) -> None:
    piece = chunk(b" " * (LIMIT // 2))

    status, _, body = await exchange(address, post(login, CHUNKED), piece, piece, piece)  # no end: it waits for none

    assert status == json.loads(body)["status"] == 413
    assert set((await count_rows(resources(app))).values()) == {0}


async def test_a_too_large_content_length_is_rejected_before_the_body(address: Address, login: bytes) -> None:
    for length in (LIMIT + 1, 10**19):
        status, _, body = await exchange(address, post(login, b"Content-Length: %d" % length))
        assert status == json.loads(body)["status"] == 413


async def test_expect_is_answered_before_the_body(address: Address, login: bytes) -> None:
    headers = (b"Content-Length: %d" % (LIMIT * 1000), b"Expect: 100-continue")

    status, _, _ = await exchange(address, post(login, *headers))

    assert status == 413


@pytest.mark.parametrize("sent", [b"", b'{"hosts":'])
async def test_a_caller_that_disconnects_is_not_an_error(
    address: Address, login: bytes, sent: bytes, app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await exchange(address, post(login, b"Content-Length: 1000"), sent, hang_up=True)
        async with asyncio.timeout(DEADLINE):
            while not any("disconnected" in record.getMessage() for record in caplog.records):
                await asyncio.sleep(0.01)

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert set((await count_rows(resources(app))).values()) == {0}
    assert (await get(address, login, b"/api/v2/info"))[0] == 200


TARGETS = {
    b"/api/v2/tasks/instances/%zz": 400,
    b"/api/v2/tasks/instances/%ff": 400,
    b"/api/v2/tasks/instances/%00": 400,
    b"/api/v2/tasks/instances/%": 400,
    b"/api/v2/tasks/instances?name=%ff": 400,
    b"/api/v2/tasks/instances?name=\xff": 400,
    b"/api/v2/tasks/instances?" + b"a" * 30_000: 200,
    b"/api/v2/tasks/instances#fragment": 404,
    b"/api/../etc/passwd": 404,
    b"*": 404,
    b"http://elsewhere/api/v2/info": 200,
    b"HTTPS://elsewhere:8443/api/v2/tasks/instances/?size=1": 200,
    b"http://elsewhere/nowhere": 404,
    b"http://elsewhere": 303,
    b"ftp://elsewhere/api/v2/info": 404,
    b"/" + b"a" * 30_000: 404,
    b"/api/v2/info?%": 200,
}


async def test_odd_targets(address: Address, login: bytes, subtests: pytest.Subtests) -> None:
    for target, expected in TARGETS.items():
        with subtests.test(str(target[:50])):
            status, head, body = await get(address, login, target)

            assert status == expected, head
            if status >= 400 and body.startswith(b"{"):
                assert json.loads(body)["status"] == status


async def test_two_lengths_end_the_connection(address: Address, login: bytes, app: Starlette) -> None:
    smuggled = b"GET /api/status HTTP/1.1\r\nHost: x\r\n\r\n"
    both = post(login, CHUNKED, b"Content-Length: 4").replace(b"Connection: close\r\n", b"")

    status, head, body = await exchange(address, both + chunk(b"{}") + chunk(b"") + smuggled)

    assert status == 400
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["message"].startswith("Content-Length and Transfer-Encoding exclude each other")
    assert set((await count_rows(resources(app))).values()) == {0}


NO_REQUESTS = (
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
)


async def test_an_invalid_request_is_rejected_and_the_next_one_served(
    address: Address, login: bytes, caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    for sent in NO_REQUESTS:
        with subtests.test(str(sent[:50])):
            status, _, _ = await exchange(address, sent)

            assert 400 <= status < 500
            assert (await get(address, login, b"/api/v2/info"))[0] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_invalid_chunk_is_rejected(address: Address, login: bytes) -> None:
    # uvicorn answers this itself while the application still reads, and logs that the application then cannot.
    status, _, _ = await exchange(address, post(login, CHUNKED) + b"Z\r\n")

    assert status == 400
    assert (await get(address, login, b"/api/v2/info"))[0] == 200


async def test_head_has_no_body(address: Address, login: bytes) -> None:
    status, head, body = await get(address, login, b"/api/v2/info", method=b"HEAD")

    assert (status, body) == (200, b"")
    assert b"content-length: 0" not in head.lower()


async def test_many_requests_at_once_on_one_host_take_it_over_once(
    address: Address, login: bytes, app: Starlette
) -> None:
    request = [post(login, b"Content-Length: %d" % len(BODY)) + BODY]

    statuses = [status for status, _, _ in await asyncio.gather(*(exchange(address, *request) for _ in range(30)))]

    assert sorted(statuses) == [200] + [409] * 29
    assert (await count_rows(resources(app)))["task_instance"] == 1


async def get(address: Address, login: bytes, target: bytes, method: bytes = b"GET") -> tuple[int, bytes, bytes]:
    return await exchange(
        address, method + b" " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + login + b"\r\n"
    )


def resources(app: Starlette) -> Resources:
    opened: Any = app.state.resources
    assert isinstance(opened, Resources)
    return opened
