"""Who is let through, and what the others are told."""

import base64
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.auth import Authentication, Basic
from service.responses import Tracing

PASSWORD = "pässword:with colon"


async def who(request: Request) -> Response:
    return PlainTextResponse(request.user.name)


async def anybody(request: Request) -> Response:
    return PlainTextResponse("open")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "admin-password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    return path


@pytest.fixture
def http(password_file: Path) -> httpx.AsyncClient:
    authentication = Middleware(Authentication, schemes={"basic": Basic(password_file)}, open_paths=["/open"])
    app = Starlette(routes=[Route("/", who), Route("/open", anybody)], middleware=[authentication, Middleware(Tracing)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


def basic(credentials: bytes) -> str:
    return "Basic " + base64.b64encode(credentials).decode()


RIGHT = basic(f"admin:{PASSWORD}".encode())


@pytest.mark.parametrize("header", [RIGHT, RIGHT.replace("Basic", "bAsIc"), RIGHT.replace(" ", "  ")])
async def test_the_administrator_is_let_through(http: httpx.AsyncClient, header: str) -> None:
    answer = await http.get("/", headers={"Authorization": header})

    assert (answer.status_code, answer.text) == (200, "admin")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YQ",
        RIGHT + "=",
        RIGHT + ", " + RIGHT,
        RIGHT.replace("Basic", "Bearer"),
        RIGHT.replace("Basic ", "Basic"),
        "Basic é",
        basic(b"admin"),
        basic(b"admin:"),
        basic(b":" + PASSWORD.encode()),
        basic(b"root:" + PASSWORD.encode()),
        basic(b"Admin:" + PASSWORD.encode()),
        basic(b"admin:" + PASSWORD.encode() + b"\n"),
        basic(b"admin:" + PASSWORD.encode() + b"\0"),
        basic(b"admin:" + PASSWORD.encode()[:-1]),
        basic(b"\xff\xfe:\x00"),
        basic(f"admin:{PASSWORD}".encode("latin-1")),
        basic(b"admin:" * 10_000),
        "OCP-ACCESS-KEY-HMACSHA1 key:signature",
    ],
)
async def test_everybody_else_is_refused(http: httpx.AsyncClient, header: str | None) -> None:
    answer = await http.get("/", headers=[] if header is None else [(b"Authorization", header.encode("latin-1"))])

    body = answer.json()
    assert answer.status_code == body["status"] == 401
    assert body["error"] == {"code": 3000, "message": "Not logged in, or the credentials are wrong."}
    assert (body["duration"], body["traceId"]) == (0, "")
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("path", ["/nowhere", "/open/", "/open/x", "//open", "/OPEN", "/%2fopen"])
async def test_only_the_open_paths_are_open(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get("/open")).text == "open"
    assert (await http.get(path)).status_code == 401


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "DELETE"])
async def test_every_method_needs_a_user(http: httpx.AsyncClient, method: str) -> None:
    assert (await http.request(method, "/")).status_code == 401


async def test_an_emptied_password_file_lets_nobody_in(http: httpx.AsyncClient, password_file: Path) -> None:
    password_file.write_text("\n", encoding="utf-8")

    assert (await http.get("/", headers={"Authorization": basic(b"admin:")})).status_code == 401


async def test_a_changed_password_counts_at_once(http: httpx.AsyncClient, password_file: Path) -> None:
    password_file.write_text("other", encoding="utf-8")

    assert (await http.get("/", headers={"Authorization": RIGHT})).status_code == 401
    assert (await http.get("/", headers={"Authorization": basic(b"admin:other")})).status_code == 200
