"""The sockets: listeners, the connections of SQL clients, and the exporter's one-request HTTP connections."""

import contextlib
import functools
import socket
from collections.abc import Callable

from .loop import Loop
from .proxy import Proxy
from .session import Reply, Session

_BACKLOG = 1024


def listen(address: str, port: int) -> socket.socket:
    """Return a listening socket with SO_REUSEADDR only: a taken port is an OSError (docs/reference/obproxy.md 2.6)."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


class Listener:
    """Accepts connections and hands them to a handler until it is closed."""

    def __init__(self, loop: Loop, sock: socket.socket, accepted: Callable[[socket.socket], object]) -> None:
        self.socket = sock
        self._loop = loop
        self._accepted = accepted
        self.resume()

    def pause(self) -> None:
        """Stop accepting; the socket stays open, so that another process that has it can go on."""
        self._loop.forget(self.socket)

    def resume(self) -> None:
        """Accept, at the start and after a pause."""
        self._loop.watch(self.socket, self._accept)

    def close(self) -> None:
        """Stop accepting and close the socket."""
        self.pause()
        self.socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            sock, _ = self.socket.accept()
            sock.setblocking(False)
            self._accepted(sock)


class Stream:
    """Writes the given bytes in order, and closes on request; the reader is the subclass."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._socket = sock
        self._outgoing = bytearray()
        self._closing = False
        self.is_closed = False
        loop.watch(sock, self._read)

    def send(self, data: bytes, *, close: bool = False) -> None:
        self._outgoing += data
        self._closing = self._closing or close
        self._write()

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._loop.forget(self._socket)
            self._socket.close()
            self.ended()

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def ended(self) -> None:
        """Handle the end of the connection, by either side."""

    def _read(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self.close()

    def _write(self) -> None:
        if self.is_closed:
            return
        try:
            sent = self._socket.send(self._outgoing) if self._outgoing else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._outgoing[:sent]
        if self._outgoing:
            self._loop.watch(self._socket, self._read, self._write)
        elif self._closing:
            self.close()
        else:
            self._loop.watch(self._socket, self._read)


class SqlConnection(Stream):
    def __init__(self, loop: Loop, sock: socket.socket, proxy: Proxy, open_connections: set["SqlConnection"]) -> None:
        host, port = sock.getpeername()[:2]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(loop, sock)
        self._session = Session(proxy, (host, port))
        self._waiting = False
        self._open = open_connections
        self._open.add(self)
        self.send(self._session.greeting())

    def received(self, data: bytes) -> None:
        """Answers packet by packet; what comes while an answer is delayed waits in the session's buffer."""
        if self._waiting:
            self._session.keep(data)
            return
        reply = self._session.receive(data)
        while reply and not self.is_closed:
            if reply.delay:
                self._waiting = True
                self._loop.call_later(reply.delay, functools.partial(self._send_late, reply))
                return
            self.send(reply.data, close=reply.close)
            reply = None if reply.close else self._session.receive(b"")

    def ended(self) -> None:
        self._open.discard(self)
        self._session.closed()

    def _send_late(self, reply: Reply) -> None:
        self._waiting = False
        self.send(reply.data, close=reply.close)
        if not self.is_closed and not reply.close:
            self.received(b"")


class MetricsConnection(Stream):
    """One HTTP request, one answer: GET /metrics."""

    def __init__(self, loop: Loop, sock: socket.socket, proxy: Proxy) -> None:
        super().__init__(loop, sock)
        self._proxy = proxy
        self._request = b""

    def received(self, data: bytes) -> None:
        self._request += data
        if b"\r\n\r\n" not in self._request:
            return
        target = self._request.split(None, 2)[1:2]
        found = target == [b"/metrics"]
        body = self._metrics() if found else b"Not Found\n"
        status = self._proxy.simulation.text("metrics", "200 OK") if found else "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        self.send(head.encode() + b"\r\n" + body, close=True)

    def _metrics(self) -> bytes:
        proxy = self._proxy
        host = self._socket.getsockname()[0]
        labels = {"ip": host, "namespace": "ODP", "odpVersion": f"OceanBase {proxy.release.version}"}
        interval = proxy.settings.seconds("prometheus_sync_interval")
        return proxy.metrics.scrape(labels, interval, enabled=proxy.settings.is_on("enable_prometheus"))
