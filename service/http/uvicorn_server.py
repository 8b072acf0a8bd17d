"""The socket: HTTP or HTTPS by uvicorn, with callers cut off that take too long to ask or to listen."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from service.model.errors import SettingsInvalid
from service.model.settings import Settings

HEAD_PATIENCE = 10.0  # seconds until a request's head must be complete, from the connection or its first byte
BODY_PATIENCE = 30.0  # seconds until its body must be
LISTEN_PATIENCE = 30.0  # seconds in which a caller must take LEAST_TAKEN of what waits for it
LEAST_TAKEN = 64 * 1024  # bytes
KEEP_ALIVE = 5  # seconds a connection may idle between two requests
HEAD_LIMIT = 64 * 1024  # bytes
SLICE = 16 * 1024  # bytes looked at together
AHEAD_LIMIT = 256 * 1024  # bytes of requests behind one that is not answered yet
MOST_CONNECTIONS = 500  # beyond which one is answered 503

Lifespan = AbstractAsyncContextManager[object]
Awaited = tuple[str, RequestResponseCycle | None]


class PatientProtocol(H11Protocol):
    """uvicorn's protocol with deadlines. They are for the whole: a byte now and then does not move them."""

    _awaited: Awaited | None = None
    _deadline: asyncio.TimerHandle | None = None
    _listening: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        # In slices: h11 holds its limit against what is incomplete only, and would take any head that comes at once.
        for start in range(0, len(data), SLICE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + SLICE])
        # uvicorn reads on whenever an application asks for more of its request, however much waits behind that.
        if len(self.conn.trailing_data[0]) > AHEAD_LIMIT:
            self.transport.abort()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._deadline, self._listening):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_listening()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._listening:
            self._listening.cancel()

    def _watch_listening(self, before: int | None = None) -> None:
        """Look again and again at what waits for the caller; `before` is how much it was the last time, bytes."""
        waiting = self.transport.get_write_buffer_size()
        if before is not None and before - waiting < LEAST_TAKEN:
            self.transport.abort()
        else:
            self._listening = self.loop.call_later(LISTEN_PATIENCE, self._watch_listening, waiting)

    def _watch(self) -> None:
        """Set the deadline for what the caller owes now, unless it is set already."""
        awaited = self._owed()
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._deadline:
            self._deadline.cancel()
        if awaited:
            patience = HEAD_PATIENCE if awaited[0] == "head" else BODY_PATIENCE
            self._deadline = self.loop.call_later(patience, self.transport.abort)

    def _owed(self) -> Awaited | None:
        if self.cycle is None or self.cycle.response_complete:
            # Between two requests uvicorn's own timer runs, until the first byte of the next one.
            return ("head", self.cycle) if self.timeout_keep_alive_task is None else None
        return ("body", self.cycle) if self.cycle.more_body else None


class Server(uvicorn.Server):
    """uvicorn's, which waits at its end for every answer to be over, and says so before to those that have none."""

    def __init__(self, config: uvicorn.Config, lifespan: Lifespan, ending: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._lifespan = lifespan
        self._ending = ending

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve within the lifespan: uvicorn logs an error of its start with a traceback and forgets it."""
        async with self._lifespan:
            await super()._serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._ending:
            self._ending()
        await super().shutdown(sockets)


def server(
    app: ASGIApp, settings: Settings, *, lifespan: Lifespan | None = None, ending: Callable[[], None] | None = None
) -> uvicorn.Server:
    """Return uvicorn for `app`, which serves while `lifespan` is open; `ending` is called when it begins to stop.

    Raises SettingsInvalid when the certificate or its key is none.
    """
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="off",
        http=PatientProtocol,
        ws="none",
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        # Without a trusted proxy nobody's word about where a request comes from counts.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=HEAD_LIMIT,
        timeout_keep_alive=KEEP_ALIVE,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    try:
        config.load()
    except OSError as error:  # SSLError is one
        raise SettingsInvalid(reason=f"TAKEOVER_TLS_CERTIFICATE, TAKEOVER_TLS_KEY: {error}") from error
    return Server(config, lifespan or nullcontext(), ending)
