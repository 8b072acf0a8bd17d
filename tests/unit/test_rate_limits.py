"""The rate limit: OCP's headers on accepted requests, its 429 beyond the limit."""

from collections.abc import Mapping
from types import MappingProxyType

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope

from service.access.users import User
from service.http.authentication import AuthenticationMiddleware, Caller
from service.http.rate_limits import RateLimitMiddleware

USERS = {"anne": User(id=1, name="anne", roles=()), "bob": User(id=2, name="bob", roles=())}


async def by_name(scope: Scope, receive: Receive, credentials: str) -> Caller | None:
    return Caller(user=USERS[credentials], receive=receive)


async def endpoint(request: Request) -> Response:
    return PlainTextResponse("done")


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def caller(clock: Clock, limits: Mapping[int, int] = MappingProxyType({10: 3})) -> httpx.AsyncClient:
    middleware = [
        Middleware(AuthenticationMiddleware, schemes={"user": by_name}, public_paths=["/open"]),
        Middleware(RateLimitMiddleware, limits=limits, clock=clock),
    ]
    app = Starlette(routes=[Route("/", endpoint), Route("/open", endpoint)], middleware=middleware)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


async def test_each_user_has_the_limit_in_each_window() -> None:
    clock = Clock()
    async with caller(clock) as http:
        clock.now = 1003.2
        anne = [await http.get("/", headers={"Authorization": "User anne"}) for _ in range(5)]
        bob = await http.get("/", headers={"Authorization": "User bob"})
        clock.now = 1010.0
        later = await http.get("/", headers={"Authorization": "User anne"})

    assert [answer.status_code for answer in anne] == [200, 200, 200, 429, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in anne] == ["2", "1", "0", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in anne} == {"3"}
    assert {answer.headers["RateLimit-Reset"] for answer in anne} == {"7"}
    assert (bob.status_code, bob.headers["RateLimit-Remaining"]) == (200, "2")
    assert (later.status_code, later.headers["RateLimit-Reset"]) == (200, "10")


async def test_the_error_response_has_ocps_shape() -> None:
    async with caller(Clock()) as http:
        answer = [await http.get("/", headers={"Authorization": "User anne"}) for _ in range(4)][-1]

    body = answer.json()
    assert answer.status_code == body["status"] == 429
    assert body["error"] == {"code": 0, "message": "Too many requests. Try again in 10 seconds."}
    assert (body["duration"], body["traceId"], body["successful"]) == (0, "", False)
    assert answer.headers["Retry-After"] == "10"


async def test_the_headers_are_of_the_window_that_leaves_the_least() -> None:
    clock = Clock()
    clock.now = 1020.0  # where all three begin
    messages: list[tuple[object, ...]] = []
    async with caller(clock, {10: 3, 60: 5, 1020: 6}) as http:
        for seconds in (0, 1, 2, 3, 10, 11, 12, 60, 61, 1020):
            clock.now = 1020.0 + seconds
            answer = await http.get("/", headers={"Authorization": "User anne"})
            shown = [answer.headers[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")]
            messages.append((answer.status_code, *shown))

    assert messages == [
        (200, "3", "2", "10"),
        (200, "3", "1", "9"),
        (200, "3", "0", "8"),
        (429, "3", "0", "7"),
        (200, "5", "1", "50"),
        (200, "5", "0", "49"),
        (429, "5", "0", "48"),
        (200, "6", "0", "960"),
        (429, "6", "0", "959"),
        (200, "3", "2", "10"),
    ]


async def test_open_routes_are_not_counted() -> None:
    async with caller(Clock()) as http:
        answers = [await http.get("/open") for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit-Limit" not in answers[0].headers
