"""What surrounds every request besides authentication: the record of what changes something, faults, the rate limit."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access import audit
from service.access.errors import RateLimited
from service.access.users import User
from service.http.authentication import SAFE_METHODS, client
from service.http.envelope import UNEXPECTED, failure, fault, trace_id
from service.model.audit import AuditCall

log = logging.getLogger(__name__)

RECORD = "audit_record"  # the key in the scope of the id of a request's record
HUNG_UP = 499  # what the record says of a caller that was gone before its answer; nobody is answered this


class Auditing:
    """Records every request that is not merely a read, the rejected ones as well, before its response is sent.

    `begin_record` has written the record of a request that may change something before anything was changed; here its
    status follows.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return
        recorded = False

        async def send_recorded(message: Message) -> None:
            nonlocal recorded
            if message["type"] == "http.response.start":
                recorded = True
                await _record(scope, message["status"])
            await send(message)

        status = UNEXPECTED
        try:
            await self.app(scope, receive, send_recorded)
            status = HUNG_UP
        finally:
            if not recorded:
                await _record(scope, status)


async def begin_record(scope: Scope) -> None:
    """Record a request before it changes anything; raises when the record cannot be written, and then it is not done.

    A request without a user is not recorded here: it changes nothing.
    """
    if scope.get("user") is not None and RECORD not in scope:
        scope[RECORD] = await audit.begin(scope["app"].state.resources.database, _call(scope, audit.UNANSWERED))


def _call(scope: Scope, status: int) -> AuditCall:
    user: User | None = scope.get("user")
    return AuditCall(
        user_name=user.name if user else None,
        client=client(scope),
        method=scope["method"],
        path=scope["raw_path"].decode("ascii", "backslashreplace"),
        status=status,
        trace_id=trace_id(HTTPConnection(scope)),
    )


async def _record(scope: Scope, status: int) -> None:
    await audit.end(scope["app"].state.resources.database, _call(scope, status), scope.get(RECORD))


Fault = Callable[[HTTPConnection, Exception], Awaitable[Response]]
"""Makes the answer to a request that an exception has ended."""


class Faults:
    """Answers what has gone wrong and nobody else answers, once: Starlette's own would log it a second time."""

    def __init__(self, app: ASGIApp, *, answer: Fault = fault) -> None:
        self.app = app
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_noting)
        except Exception as error:  # the loop around all requests: whatever it is, the next one is served
            if begun:
                raise
            answer = await self.answer(HTTPConnection(scope), error)
            await answer(scope, receive, send)


@dataclass(kw_only=True)
class Window:
    """How many requests a user may make in each stretch of so many seconds, and how many each has made in this one."""

    seconds: int
    limit: int
    _number: int = 0
    _counts: dict[int, int] = field(default_factory=dict)

    def left(self, user: User, now: float) -> int:
        """How many more the user may make until the next one begins."""
        number = int(now // self.seconds)
        if number != self._number:
            self._number = number
            self._counts.clear()
        return self.limit - self._counts.get(user.id, 0)

    def take(self, user: User) -> None:
        """One of them is made."""
        self._counts[user.id] = self._counts.get(user.id, 0) + 1

    def reset(self, now: float) -> int:
        """Seconds until the next one begins."""
        return self.seconds - int(now % self.seconds)


class RateLimit:
    """Lets each user make so many requests in each of some windows, and says in OCP's headers which leaves the least.

    `limits` are requests by the seconds of their window. They are counted in this process: what all processes share
    would be written for every request. One that is refused does not count.
    """

    def __init__(self, app: ASGIApp, *, limits: Mapping[int, int], clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self.windows = [Window(seconds=seconds, limit=limit) for seconds, limit in limits.items()]
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = cast(User | None, scope.get("user"))
        if user is None:
            await self.app(scope, receive, send)
            return
        now = self.clock()
        # Of those that leave nothing the one that does so for longest.
        nearest = min(self.windows, key=lambda window: (window.left(user, now), -window.reset(now)))
        refused = nearest.left(user, now) <= 0
        if not refused:
            for window in self.windows:
                window.take(user)
        reset = nearest.reset(now)
        headers = {
            "RateLimit-Limit": str(nearest.limit),
            "RateLimit-Remaining": str(nearest.left(user, now)),
            "RateLimit-Reset": str(reset),
        }
        if refused:
            refusal = failure(HTTPConnection(scope), RateLimited(seconds=reset), {**headers, "Retry-After": str(reset)})
            await refusal(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self.app(scope, receive, send_with_headers)
