"""The running service of one process: its ports, its connections, and how it ends or restarts."""

import functools
import signal
import socket

from . import hot_restart
from .logs import Log
from .loop import Loop, on_signal
from .proxy import Proxy
from .server import Listener, MetricsConnection, SqlConnection, Stream, listen

# Seen after SIGTERM: connections closed after 0.6 s, the process gone after 2 s (docs/reference/obproxy-observed.md).
_CLOSE_AFTER = 0.6
_GONE_AFTER = 2.0
_EXIT_TAKES = 1.5
_HAND_OVER_TAKES = 2.0

_NO_COMMAND, _EXIT, _RESTART = "0", "1", "2"  # values of proxy_local_cmd


class Service:
    def __init__(self, loop: Loop, proxy: Proxy, log: Log) -> None:
        self._loop = loop
        self._proxy = proxy
        self._log = log
        self._listeners: list[Listener] = []
        self._connections: set[SqlConnection] = set()
        self._stopped_by_signal = False
        self._exporter: Listener | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, self._terminate)

    def bind(self) -> None:
        """Open the ports. Raise OSError if the SQL or the RPC port is taken; a taken exporter port is only logged."""
        sockets = hot_restart.inherited_sockets() or self._open_sockets()
        accept = functools.partial(SqlConnection, self._loop, proxy=self._proxy, open_connections=self._connections)
        self._listeners.append(Listener(self._loop, sockets[0], accept))
        self._listeners += [Listener(self._loop, sock, self._ignore) for sock in sockets[1:]]
        self._bind_exporter()

    def _open_sockets(self) -> list[socket.socket]:
        values = self._proxy.effective
        sockets = [listen(values["local_bound_ip"], int(values["listen_port"]))]
        try:
            if self._proxy.release.has_rpc_service and values["enable_obproxy_rpc_service"] == "True":
                sockets.append(listen(values["local_bound_ip"], int(values["rpc_listen_port"])))
        except OSError:
            sockets[0].close()
            raise
        return sockets

    def _bind_exporter(self) -> None:
        try:
            # local_bound_ip does not concern the exporter.
            sock = listen("0.0.0.0", int(self._proxy.effective["prometheus_listen_port"]))  # noqa: S104
        except OSError as error:
            self._log.line("WDIAG", f"fail to start the prometheus exporter: {error}")
            return
        accept = functools.partial(MetricsConnection, self._loop, proxy=self._proxy)
        self._exporter = Listener(self._loop, sock, accept)

    def run(self) -> bool:
        """Serve until the end. Return whether a signal ended it."""
        self._watch_local_command()
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
        for listener in (*self._listeners, self._exporter):
            if listener:
                listener.close()
        for connection in list(self._connections):
            connection.close()

    def _watch_local_command(self) -> None:
        """proxy_local_cmd is looked at every few seconds: 1 ends the process, 2 starts another one in its place."""
        command = self._proxy.settings["proxy_local_cmd"]
        if command == _EXIT:
            self._shut_down(0.0, _EXIT_TAKES)
        elif command == _RESTART:
            self._start_successor()
        else:
            interval = self._proxy.settings.seconds("proxy_hot_upgrade_check_interval")
            self._loop.call_later(interval, self._watch_local_command)

    def _start_successor(self) -> None:
        """Give the listening sockets to a new process; what comes of it is decided when that serves, or has died."""
        self._proxy.settings.put("proxy_local_cmd", _NO_COMMAND)
        if self._exporter:
            self._exporter.close()
            self._exporter = None
        successor = hot_restart.spawn(self._proxy, [listener.socket for listener in self._listeners])
        for listener in self._listeners:
            listener.pause()
        self._loop.watch(successor.pipe, functools.partial(self._finish_hot_restart, successor))

    def _finish_hot_restart(self, successor: hot_restart.Successor) -> None:
        """Serve the open connections to their end and go; or go on as before when the new process has died."""
        self._loop.forget(successor.pipe)
        if not successor.serves():
            self._log.line("EDIAG", "the new process has exited, hot restart is given up")
            for listener in self._listeners:
                listener.resume()
            self._bind_exporter()
            self._watch_local_command()
            return
        self._loop.call_later(_HAND_OVER_TAKES, self._stop_when_idle)
        timeout = int(self._proxy.settings["hot_upgrade_exit_timeout"]) / 1_000_000
        if timeout >= 0:
            self._loop.call_later(max(timeout, _HAND_OVER_TAKES), self._loop.stop)

    def _stop_when_idle(self) -> None:
        if self._connections:
            self._loop.call_later(0.5, self._stop_when_idle)
        else:
            self._loop.stop()

    def _ignore(self, sock: socket.socket) -> Stream:
        """Accept connections at the RPC port and send nothing."""
        return _Silent(self._loop, sock)


class _Silent(Stream):
    def received(self, data: bytes) -> None:
        """Nothing is simulated behind this port."""
