"""Rate limits per user, with OCP's RateLimit headers (docs/reference/ocp-api.md 4.4)."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.errors import RateLimited
from service.access.users import User
from service.http.envelope import error_response


@dataclass(kw_only=True)
class FixedWindow:
    """A fixed window of `seconds`: counts the requests of each user in it, at most `limit`."""

    seconds: int
    limit: int
    _number: int = 0
    _counts: dict[int, int] = field(default_factory=dict)

    def remaining(self, user: User, now: float) -> int:
        """Return how many more requests the user may make in the current window."""
        number = int(now // self.seconds)
        if number != self._number:
            self._number = number
            self._counts.clear()
        return self.limit - self._counts.get(user.id, 0)

    def count(self, user: User) -> None:
        """Count one request of the user."""
        self._counts[user.id] = self._counts.get(user.id, 0) + 1

    def reset(self, now: float) -> int:
        """Return the seconds until the next window begins."""
        return self.seconds - int(now % self.seconds)


class RateLimitMiddleware:
    """Rejects requests of a user beyond any of the limits; the headers describe the window with the fewest left.

    `limits` maps the seconds of a window to its number of requests. The counters are those of this process: shared
    counters would need a write for every request. Rejected requests are not counted.
    """

    def __init__(self, app: ASGIApp, *, limits: Mapping[int, int], clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self.windows = [FixedWindow(seconds=seconds, limit=limit) for seconds, limit in limits.items()]
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = cast(User | None, scope.get("user"))
        if user is None:
            await self.app(scope, receive, send)
            return
        now = self.clock()
        # Of several exhausted windows the one that resets last.
        tightest = min(self.windows, key=lambda window: (window.remaining(user, now), -window.reset(now)))
        rejected = tightest.remaining(user, now) <= 0
        if not rejected:
            for window in self.windows:
                window.count(user)
        reset = tightest.reset(now)
        headers = {
            "RateLimit-Limit": str(tightest.limit),
            "RateLimit-Remaining": str(tightest.remaining(user, now)),
            "RateLimit-Reset": str(reset),
        }
        if rejected:
            error = RateLimited(seconds=reset)
            response = error_response(HTTPConnection(scope), error, {**headers, "Retry-After": str(reset)})
            await response(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self.app(scope, receive, send_with_headers)
