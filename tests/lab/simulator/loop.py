"""A small event loop: sockets, timers and signals in one thread. asyncio would double the memory and the start."""

import contextlib
import heapq
import itertools
import selectors
import signal
import socket
import time
from collections.abc import Callable

Callback = Callable[[], None]


class Loop:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._running = True
        # A signal's handler runs between bytecodes; the byte written here is what ends the wait for sockets.
        self._wakeup, signal_end = socket.socketpair()
        for end in (self._wakeup, signal_end):
            end.setblocking(False)
        signal.set_wakeup_fd(signal_end.fileno())
        self._signal_end = signal_end
        self.watch(self._wakeup, self._drain)

    def watch(self, sock: socket.socket, readable: Callback, writable: Callback | None = None) -> None:
        """Call back when the socket can be read, and written if asked for. Replaces an earlier registration."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        data = (readable, writable)
        try:
            self._selector.modify(sock, events, data)
        except KeyError:
            self._selector.register(sock, events, data)

    def forget(self, sock: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def call_later(self, seconds: float, callback: Callback) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), callback))

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        while self._running:
            for key, events in self._selector.select(self._time_to_timer()):
                readable, writable = key.data
                if events & selectors.EVENT_WRITE and writable:
                    writable()
                elif events & selectors.EVENT_READ:
                    readable()
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()

    def _time_to_timer(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakeup.recv(4096)


def on_signal(number: signal.Signals, callback: Callback) -> None:
    signal.signal(number, lambda _number, _frame: callback())
