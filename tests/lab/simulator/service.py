"""The running service of one process: its ports, its connections, and how it ends or restarts."""

import functools
import signal
import socket

from .logs import Log
from .loop import Loop, on_signal
from .proxy import Proxy
from .server import Listener, MetricsConnection, SqlConnection, Stream, listen

# Seen after SIGTERM: connections closed after 0.6 s, the process gone after 2 s (facts/obproxy-observed.md).
_CLOSE_AFTER = 0.6
_GONE_AFTER = 2.0


class Service:
    def __init__(self, loop: Loop, proxy: Proxy, log: Log) -> None:
        self._loop = loop
        self._proxy = proxy
        self._log = log
        self._listeners: list[Listener] = []
        self._connections: set[SqlConnection] = set()
        self._stopped_by_signal = False

    def bind(self) -> None:
        """Opens the ports. Raises OSError if the SQL or the RPC port is taken; a taken exporter port is only logged."""
        values = self._proxy.effective
        sockets = [listen(values["local_bound_ip"], int(values["listen_port"]))]
        try:
            if self._proxy.release.has_rpc_service and values["enable_obproxy_rpc_service"] == "True":
                sockets.append(listen(values["local_bound_ip"], int(values["rpc_listen_port"])))
        except OSError:
            sockets[0].close()
            raise
        accept = functools.partial(SqlConnection, self._loop, proxy=self._proxy, open_connections=self._connections)
        self._listeners.append(Listener(self._loop, sockets[0], accept))
        self._listeners += [Listener(self._loop, sock, self._ignore) for sock in sockets[1:]]
        self._bind_exporter()

    def _bind_exporter(self) -> None:
        try:
            # local_bound_ip does not concern the exporter.
            sock = listen("0.0.0.0", int(self._proxy.effective["prometheus_listen_port"]))  # noqa: S104
        except OSError as error:
            self._log.line("WDIAG", f"fail to start the prometheus exporter: {error}")
            return
        accept = functools.partial(MetricsConnection, self._loop, proxy=self._proxy)
        self._listeners.append(Listener(self._loop, sock, accept))

    def run(self) -> bool:
        """Serves until the end. Whether a signal ended it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, self._terminate)
        if seconds := self._proxy.simulation.seconds("die_after"):
            self._loop.call_later(seconds, self._loop.stop)
        self._loop.run()
        return self._stopped_by_signal

    def _terminate(self) -> None:
        self._stopped_by_signal = True
        self._shut_down(_CLOSE_AFTER, _GONE_AFTER)

    def _shut_down(self, close_after: float, gone_after: float) -> None:
        self._loop.call_later(close_after, self._close_all)
        self._loop.call_later(gone_after, self._loop.stop)

    def _close_all(self) -> None:
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.close()

    def _ignore(self, sock: socket.socket) -> Stream:
        """The RPC port accepts and says nothing."""
        return _Silent(self._loop, sock)


class _Silent(Stream):
    def received(self, data: bytes) -> None:
        """Nothing is simulated behind this port."""
