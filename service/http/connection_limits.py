"""Limits of open connections: per process and per client address, with a reserve for health checks.

At a limit, the connection that has waited for its client the longest is closed. So neither one client with many silent
connections nor many such clients keep others out.
"""

import asyncio
import logging
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Protocol

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.envelope import error_response
from service.model.errors import Overloaded

log = logging.getLogger(__name__)

CONNECTION_LIMIT = 500  # connections with a request in progress; further requests get 503
HEALTH_RESERVE = 50  # further connections, for health checks and for the time until idle ones are closed
HEALTH_PATHS = frozenset({"/health/live", "/health/ready", "/api/status"})
OTHER_DESCRIPTORS = 40  # open files of the process beside connections: database, logs, pipes
BACKLOG_LIMIT = 2048  # connections that the kernel keeps until they are accepted
LOG_INTERVAL = 10.0  # seconds between two log records about exhausted descriptors
RETRY_AFTER = "1"  # seconds

Network = IPv4Network | IPv6Network


class Connection(Protocol):
    """An open connection. `idle_since` is the time from which it waits for its client; None while the service works."""

    client: tuple[str, int] | None

    @property
    def idle_since(self) -> float | None: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one process: open connections, those with a request in progress, those of one address, the backlog."""

    connections: int
    busy: int
    per_address: int
    backlog: int


def limits_for(descriptors: int) -> Limits:
    """Return the limits of a process that may open so many files."""
    available = max(descriptors - OTHER_DESCRIPTORS, 3)
    connections = min(CONNECTION_LIMIT + HEALTH_RESERVE, available * 2 // 3)
    busy = connections - max(1, connections * HEALTH_RESERVE // (CONNECTION_LIMIT + HEALTH_RESERVE))
    return Limits(
        connections=connections,
        busy=busy,
        per_address=max(1, busy // 2),
        # asyncio accepts as many at once before it closes any.
        backlog=min(BACKLOG_LIMIT, max(1, available - connections)),
    )


def limits_of_process() -> Limits:
    """Return the limits of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limits_for(BACKLOG_LIMIT * 2 if soft == resource.RLIM_INFINITY else soft)


class Connections:
    """The open connections of a server. Connections of `trusted` proxies have no limit per address."""

    def __init__(self, limits: Limits, trusted: Sequence[Network] = ()) -> None:
        self.limits = limits
        self._trusted = trusted
        self._open: set[Connection] = set()
        self._by_address: dict[str, set[Connection]] = {}

    def add(self, connection: Connection) -> None:
        """Add a new connection, and close one that is idle where there are too many now."""
        self._open.add(connection)
        address = connection.client[0] if connection.client else ""
        of_address = self._by_address.setdefault(address, set())
        of_address.add(connection)
        if len(of_address) > self.limits.per_address and not self._is_trusted(address):
            self._close_one(of_address, connection)
        elif len(self._open) > self.limits.connections:
            self._close_one(self._open, connection)

    def discard(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        self._open.discard(connection)
        address = connection.client[0] if connection.client else ""
        of_address = self._by_address.get(address, set())
        of_address.discard(connection)
        if not of_address:
            self._by_address.pop(address, None)

    @property
    def is_overloaded(self) -> bool:
        """True if more connections than allowed have a request in progress."""
        busy = self.limits.busy
        return len(self._open) > busy and sum(open_.idle_since is None for open_ in self._open) > busy

    def _close_one(self, candidates: Iterable[Connection], new: Connection) -> None:
        """Close the one that is idle the longest; if the new one is the only one, close that."""
        idle = {other: since for other in candidates if other is not new and (since := other.idle_since) is not None}
        closed = min(idle, key=idle.__getitem__) if idle else new
        self.discard(closed)
        closed.abort()

    def _is_trusted(self, address: str) -> bool:
        return not address or any(ip_address(address) in network for network in self._trusted)


class OverloadMiddleware:
    """Rejects requests with 503 while too many are in progress, health checks excepted."""

    def __init__(self, app: ASGIApp, *, connections: Connections) -> None:
        self.app = app
        self.connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in HEALTH_PATHS and self.connections.is_overloaded:
            error = Overloaded(limit=self.connections.limits.busy)
            headers = {"Retry-After": RETRY_AFTER, "Connection": "close"}
            await error_response(HTTPConnection(scope), error, headers)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def log_exhausted_descriptors_once(
    loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
) -> None:
    """Log that no connection can be accepted once per LOG_INTERVAL; asyncio logs each attempt with a traceback."""
    last = -LOG_INTERVAL

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal last
        if context["message"] != "socket.accept() out of system resource":
            loop.default_exception_handler(context)
        elif clock() - last >= LOG_INTERVAL:
            last = clock()
            log.error(
                "No connection can be accepted: %s; raise the limit of open files",
                context["exception"],
                extra={"action": "descriptors_exhausted"},
            )

    loop.set_exception_handler(handle)
