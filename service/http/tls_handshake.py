"""TLS handshakes of the server. A connection counts in the limits from its start, not only after its handshake."""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from service.http.connection_limits import Connections

HANDSHAKE_TIMEOUT = 10.0  # seconds from the connection until the handshake must be complete


class TlsHandshake(asyncio.Protocol):
    """Does the TLS handshake of a connection, then gives the encrypted connection to an HTTP protocol.

    asyncio's own servers make their protocol known only after the handshake, for which they wait 60 seconds.
    """

    def __init__(
        self,
        *,
        context: ssl.SSLContext,
        http: Callable[..., asyncio.Protocol],
        open_connections: Connections,
        server_state: ServerState,
        **kwargs: Any,
    ) -> None:
        self._context = context
        self._make_http = partial(http, server_state=server_state, **kwargs)
        self._open_connections = open_connections
        self._server_state = server_state
        self._loop = asyncio.get_running_loop()
        self._early: list[bytes] = []  # decrypted bytes that have come with the end of the handshake
        self.client: tuple[str, int] | None = None
        self.idle_since = self._loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the handshake."""
        self._transport = transport
        self.client = get_remote_addr(transport)
        transport.pause_reading()  # until the handshake reads
        self._open_connections.add(self)
        if not transport.is_closing():  # it is the one too many
            self._server_state.connections.add(self)  # type: ignore[arg-type]
            self._task = self._loop.create_task(self._negotiate(), name="tls-handshake")

    def data_received(self, data: bytes) -> None:
        """Keep decrypted bytes for the HTTP protocol."""
        self._early.append(data)

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    shutdown = abort  # uvicorn's name, when the server stops

    async def _negotiate(self) -> None:
        try:
            encrypted = await self._loop.start_tls(
                self._transport, self, self._context, server_side=True, ssl_handshake_timeout=HANDSHAKE_TIMEOUT
            )
        except OSError:  # SSLError is one
            return
        finally:
            self._open_connections.discard(self)
            self._server_state.connections.discard(self)
        if encrypted is None or encrypted.is_closing():  # closed by the client, or aborted
            return
        http = self._make_http()
        encrypted.set_protocol(http)
        http.connection_made(encrypted)
        for data in self._early:
            http.data_received(data)
