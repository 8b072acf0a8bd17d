"""Bytes that no client sends: headers, ids and encodings of all sorts, on a real socket. The same in every run.

The service answers in time or closes the connection, without a fault or a traceback, and serves the next caller.
"""

import asyncio
import base64
import json
import logging
import random
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from service.http import uvicorn_server
from service.model.settings import Settings
from tests.integration.running_service import serving

ROUNDS = 300
DEADLINE = 60.0  # seconds one exchange may take
NASTY = (
    *(b"", b" ", b"0", b"-1", b"1.5", b"9" * 30, b"1e309", b"NaN", b"null", b"true", b"\xff\xfe", b"\xc0\xaf", b"\x80"),
    *(b"%00", b"%0d%0aX: y", b"%ff", b"%", b"%zz", b"%u0041", b"../../etc/passwd", b"..%2f..%2f", b"{{ 7*7 }}"),
    *(
        b"' OR 1=1 --",
        b"<script>alert(1)</script>",
        b"$(id)",
        b"${jndi:ldap://x}",
        b"A" * 8000,
        "\u202e\ud55c".encode(),
    ),
)
TARGETS = (
    b"/api/v2/tasks/instances/%s",
    b"/api/v2/tasks/instances/%s/subtasks/%s/log",
    b"/api/v2/tasks/instances/%s/subtasks/%s/skip",
    b"/api/v2/tasks/instances?name=%s&status=%s&page=%s",
    b"/api/v2/obproxy/clusters/%s/takeOver",
    b"/api/v2/audit/events?userName=%s",
    b"/%s",
    b"%s",
)
NAMES = (
    *(b"Accept", b"Accept-Language", b"Content-Type", b"Content-Encoding", b"Cookie", b"Date", b"X-Ocp-Date", b"Host"),
    *(
        b"Expect",
        b"Connection",
        b"Upgrade",
        b"Range",
        b"If-Match",
        b"Idempotency-Key",
        b"X-Trace-Id",
        b"X-Forwarded-For",
    ),
    *(b"X-Http-Method-Override", b"Transfer-Encoding", b"Content-Length", b"X-ReturnStackTrace", b"Forwarded"),
)
SCHEMES = (b"Basic %s", b"basic %s", b"OCP-ACCESS-KEY-HMACSHA1 %s:%s", b"Bearer %s", b"Negotiate %s", b"%s")


@pytest.fixture
def address(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Yield the address of a service that waits only briefly for the rest of a request."""
    for name in ("HEADER_TIMEOUT", "BODY_TIMEOUT"):
        monkeypatch.setattr(uvicorn_server, name, 0.2)
    with serving(settings) as url:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        yield parts.hostname, parts.port


@pytest.fixture
def login(address: tuple[str, int], settings: Settings) -> bytes:
    """Return the Authorization header of the administrator."""
    password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
    return b"Basic " + base64.b64encode(f"admin:{password}".encode())


def filled(dice: random.Random, template: bytes) -> bytes:
    """Return the template with a hostile value in each placeholder."""
    return b"".join(piece + dice.choice(NASTY) for piece in template.split(b"%s")[:-1]) + template.split(b"%s")[-1]


def request(dice: random.Random, login: bytes) -> bytes:
    """One request of parts that are mostly wrong."""
    method = dice.choice((b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"PATCH", b"X" * 20))
    target = filled(dice, dice.choice(TARGETS))
    known = dice.random() < 0.7
    lines = [
        method + b" " + target + b" HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        b"Authorization: " + (login if known else filled(dice, dice.choice(SCHEMES[2:]))),
        *(dice.choice(NAMES) + b": " + dice.choice(NASTY) for _ in range(dice.randrange(4))),
    ]
    body = dice.choice((b"", b"{}", b'{"hosts": [%s]}' % dice.choice(NASTY), dice.randbytes(200), b"[" * 5000))
    if body:
        lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def exchange(address: tuple[str, int], sent: bytes) -> bytes:
    """All that comes back."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(sent)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def test_nothing_that_is_sent_is_a_fault_of_the_service(
    address: tuple[str, int], login: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(20261123)
    answered = 0
    for _ in range(ROUNDS):
        sent = request(dice, login)
        answer = await exchange(address, sent)

        answered += bool(answer)
        assert not answer or 200 <= int(answer.split(b" ", 2)[1]) < 500, (sent, answer)
        assert b"Traceback" not in answer
        assert b".py" not in answer
        _, _, body = answer.partition(b"\r\n\r\n")
        if body.startswith(b"{"):
            assert {"duration", "status", "traceId"} <= set(json.loads(body))

    assert answered > ROUNDS / 2
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    monkeypatch.undo()  # this one is to be answered however busy the machine is
    fine = await exchange(address, b"GET /api/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert fine.endswith(b"okay")


@pytest.mark.parametrize("count", [50, 5000])
async def test_many_headers(address: tuple[str, int], login: bytes, count: int) -> None:
    headers = b"".join(b"X-Ocp-%d: %d\r\n" % (number, number) for number in range(count))
    head = b"GET /api/v2/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: "

    answer = await exchange(address, head + login + b"\r\n" + headers + b"\r\n")

    assert answer.startswith(b"HTTP/1.1 200" if count == 50 else b"HTTP/1.1 400") or not answer
