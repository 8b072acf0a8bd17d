"""HTTP and HTTPS server: uvicorn with slow-client timeouts (slowloris, slow POST, slow read) and size limits."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from ipaddress import ip_network
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from service.http.connection_limits import (
    Connections,
    OverloadMiddleware,
    limits_of_process,
    log_exhausted_descriptors_once,
)
from service.http.tls_handshake import TlsHandshake
from service.model.errors import SettingsInvalid
from service.model.settings import Settings

HEADER_TIMEOUT = 10.0  # seconds from the connection, or from the first byte, until the headers must be complete
BODY_TIMEOUT = 30.0  # seconds until the body must be complete
WRITE_TIMEOUT = 30.0  # seconds in which a client must read WRITE_PROGRESS of a pending response
WRITE_PROGRESS = 64 * 1024  # bytes
KEEP_ALIVE = 5  # seconds that a connection may be idle between two requests
HEADER_LIMIT = 64 * 1024  # bytes
READ_SIZE = 16 * 1024  # bytes parsed at once
PIPELINE_LIMIT = 256 * 1024  # bytes of pipelined requests behind one without a response

Lifespan = AbstractAsyncContextManager[object]
Expected = tuple[str, RequestResponseCycle | None]
"""Which part of a request the client must send now, `headers` or `body`, and the request before or around it."""


class SlowClientTimeoutProtocol(H11Protocol):
    """uvicorn's protocol with deadlines for headers, body and response. Single bytes do not extend a deadline."""

    _expected: Expected | None = None
    _request_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _waits_since = 0.0

    def __init__(self, *args: Any, open_connections: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open_connections = open_connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        self._set_request_timer()
        self._open_connections.add(self)

    @property
    def idle_since(self) -> float | None:
        """The time from which the service waits for the client; None while a response is in progress."""
        responding = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        return None if responding else self._waits_since

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        # In parts: h11 checks its limit only for incomplete headers, and accepts larger ones that arrive at once.
        for start in range(0, len(data), READ_SIZE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + READ_SIZE])
        # uvicorn resumes reading for each `receive` of the application, whatever is already buffered.
        if len(self.conn.trailing_data[0]) > PIPELINE_LIMIT:
            self.transport.abort()
        self._set_request_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._waits_since = self.loop.time()
        self._set_request_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._request_timer, self._write_timer):
            if timer:
                timer.cancel()
        self._open_connections.discard(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._check_write_progress()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer:
            self._write_timer.cancel()

    def _check_write_progress(self, before: int | None = None) -> None:
        """Close the connection when the client has read less than WRITE_PROGRESS since the last check.

        `before` is the number of unsent bytes at the last check.
        """
        unsent = self.transport.get_write_buffer_size()
        if before is not None and before - unsent < WRITE_PROGRESS:
            self.transport.abort()
        else:
            self._write_timer = self.loop.call_later(WRITE_TIMEOUT, self._check_write_progress, unsent)

    def _set_request_timer(self) -> None:
        """Start the timer for the part of the request that is expected now, unless it is running."""
        expected = self._expect()
        if expected == self._expected:
            return
        self._expected = expected
        if self._request_timer:
            self._request_timer.cancel()
        if expected:
            timeout = HEADER_TIMEOUT if expected[0] == "headers" else BODY_TIMEOUT
            self._request_timer = self.loop.call_later(timeout, self.transport.abort)

    def _expect(self) -> Expected | None:
        if self.cycle is None or self.cycle.response_complete:
            # Between two requests uvicorn's keep-alive timer runs, until the first byte of the next one.
            return ("headers", self.cycle) if self.timeout_keep_alive_task is None else None
        return ("body", self.cycle) if self.cycle.more_body else None


class Server(uvicorn.Server):
    """uvicorn's server, started within a lifespan. `on_shutdown` is called first, to end the event streams."""

    def __init__(self, config: uvicorn.Config, lifespan: Lifespan, on_shutdown: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._lifespan = lifespan
        self._on_shutdown = on_shutdown

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve within the lifespan, so that an error of the start is raised; uvicorn only logs it with a traceback."""
        log_exhausted_descriptors_once(asyncio.get_running_loop())
        async with self._lifespan:
            await super()._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; raise SettingsInvalid when that fails. uvicorn only logs the error, without the setting."""
        try:
            bound = sockets or await self._bind()
            context, self.config.ssl = self.config.ssl, None  # TlsHandshake has it
            await super().startup(bound)
            self.config.ssl = context
        except OSError as error:
            problem = os.strerror(error.errno) if error.errno else error
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            reason = f"TAKEOVER_HOST, TAKEOVER_PORT: {host}:{self.config.port}: {problem}"
            raise SettingsInvalid(reason=reason) from error
        self._log_started_message(bound)

    async def _bind(self) -> list[socket.socket]:
        """Bind a socket for each address of the host, as asyncio does."""
        server = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, self.config.host, self.config.port, start_serving=False
        )
        bound = [each.dup() for each in server.sockets]
        server.close()
        return bound

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_shutdown:
            self._on_shutdown()
        await super().shutdown(sockets)


def create_server(
    app: ASGIApp, settings: Settings, *, lifespan: Lifespan | None = None, on_shutdown: Callable[[], None] | None = None
) -> uvicorn.Server:
    """Return a server for `app` that serves within `lifespan`; it calls `on_shutdown` when it begins to stop.

    Raise SettingsInvalid when the address does not exist, or the TLS certificate or its key cannot be loaded.
    """
    _check_address(settings)
    connections = Connections(limits_of_process(), trusted=[ip_network(n) for n in settings.trusted_proxy_networks])
    http = partial(SlowClientTimeoutProtocol, open_connections=connections)
    config = uvicorn.Config(
        OverloadMiddleware(app, connections=connections),
        host=settings.host,
        port=settings.port,
        lifespan="off",
        http=cast(type[asyncio.Protocol], http),
        ws="none",
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        # Without a trusted proxy, X-Forwarded-For is ignored.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        backlog=connections.limits.backlog,
        h11_max_incomplete_event_size=HEADER_LIMIT,
        timeout_keep_alive=KEEP_ALIVE,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    try:
        config.load()
    except OSError as error:  # SSLError is one
        raise SettingsInvalid(reason=f"TAKEOVER_TLS_CERTIFICATE, TAKEOVER_TLS_KEY: {error}") from error
    if config.ssl:
        handshake = partial(TlsHandshake, context=config.ssl, http=http, open_connections=connections)
        config.http_protocol_class = cast(type[asyncio.Protocol], handshake)
    return Server(config, lifespan or nullcontext(), on_shutdown)


def _check_address(settings: Settings) -> None:
    try:
        socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = f"TAKEOVER_HOST: it must be an address, or a name that resolves to one. Found: {settings.host!r}"
        raise SettingsInvalid(reason=reason) from error
