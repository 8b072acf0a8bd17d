"""The authentication middleware. tests/integration/test_http_auth.py tests the schemes themselves."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope

from service.access.errors import LoginBlocked
from service.access.users import User
from service.http import requests
from service.http.authentication import AuthenticationMiddleware, Caller
from service.http.envelope import TraceIdMiddleware
from service.model.errors import BodyTooLarge

ANNE = User(id=7, name="anne", roles=())


async def by_outcome(scope: Scope, receive: Receive, credentials: str) -> Caller | None:
    """Return a scheme for tests: the word in the header determines the outcome."""
    match credentials:
        case "blocked":
            raise LoginBlocked
        case "large":
            raise BodyTooLarge(limit=1)
        case "gone":
            raise ClientDisconnect
        case "body":
            return Caller(user=ANNE, receive=requests.replay_body(b"read before", receive))
        case "right":
            return Caller(user=ANNE, receive=receive)
    return None


async def show_user(request: Request) -> Response:
    return PlainTextResponse(f"{request.user.name} {(await request.body()).decode()}")


async def show_open(request: Request) -> Response:
    return PlainTextResponse("open")


@pytest.fixture
def http() -> httpx.AsyncClient:
    authentication = Middleware(AuthenticationMiddleware, schemes={"word": by_outcome}, public_paths=["/open"])
    routes = [Route("/", show_user, methods=["GET", "POST"]), Route("/open", show_open)]
    app = Starlette(routes=routes, middleware=[authentication, Middleware(TraceIdMiddleware)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


@pytest.mark.parametrize("header", ["Word right", "wOrD right"])
async def test_an_authenticated_user_is_accepted(http: httpx.AsyncClient, header: str) -> None:
    answer = await http.post("/", headers={"Authorization": header}, content=b"mine")

    assert (answer.status_code, answer.text) == (200, "anne mine")


async def test_a_body_read_by_authentication_is_replayed(http: httpx.AsyncClient) -> None:
    answer = await http.post("/", headers={"Authorization": "Word body"})

    assert answer.text == "anne read before"


@pytest.mark.parametrize("header", [None, "", "Word", "Word ", "Word wrong", "Word  right", "Wordright", "Other right"])
async def test_unauthenticated_requests_are_rejected(http: httpx.AsyncClient, header: str | None) -> None:
    answer = await http.get("/", headers={} if header is None else {"Authorization": header})

    body = answer.json()
    assert answer.status_code == body["status"] == 401
    assert body["error"] == {"code": 3000, "message": "Not logged in, or the credentials are wrong."}
    assert (body["duration"], body["traceId"]) == (0, "")
    assert answer.headers["www-authenticate"] == 'Basic realm="OBProxy takeover", charset="UTF-8"'


@pytest.mark.parametrize(
    ("name", "value"),
    [("Cookie", "session=x"), ("Sec-Fetch-Mode", "cors"), ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")],
)
async def test_a_browser_gets_no_password_prompt(http: httpx.AsyncClient, name: str, value: str) -> None:
    answer = await http.get("/", headers={name: value})

    assert answer.status_code == 401
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(("word", "status", "code"), [("blocked", 401, 3007), ("large", 413, 0)])
async def test_a_scheme_may_reject_with_its_own_error(
    http: httpx.AsyncClient, word: str, status: int, code: int
) -> None:
    answer = await http.get("/", headers={"Authorization": f"Word {word}"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/nowhere", "/open/", "/open/x", "//open", "/OPEN", "/%2fopen"])
async def test_only_the_public_paths_are_open(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get("/open")).text == "open"
    assert (await http.get(path)).status_code == 401


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "DELETE"])
async def test_every_method_needs_a_user(http: httpx.AsyncClient, method: str) -> None:
    assert (await http.request(method, "/")).status_code == 401
