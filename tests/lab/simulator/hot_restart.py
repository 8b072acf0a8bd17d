"""The hot restart: a new process takes over the listening sockets of the old one (docs/reference/obproxy.md 2.6).

As with the original the new process is argv[0] again, searched from the current directory, without any argument and
with hardly any environment; it keeps the process group. The old process keeps its listening sockets until it is gone:
it stops to accept, and accepts again when the new one has died before it served.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from .proxy import Proxy
from .simulation import DEFAULT_PATH

_INHERITED = "OBPROXY_INHERITED_FDS"
_READY = "OBPROXY_INHERITED_READY_FD"


def is_successor() -> bool:
    """Return whether this process was started by a hot restart."""
    return _INHERITED in os.environ


def inherited_sockets() -> list[socket.socket]:
    """Return the predecessor's listening sockets, SQL first; once only."""
    numbers = os.environ.pop(_INHERITED, "")
    return [socket.socket(fileno=int(number)) for number in numbers.split(",") if number]


def report_ready() -> None:
    """Notify the predecessor, if there is one, that this process serves."""
    if number := os.environ.pop(_READY, ""):
        with socket.socket(fileno=int(number)) as pipe:
            pipe.send(b"1")


class Successor:
    """The new process, as the old one knows it; `pipe` brings a byte when it serves, and ends when it has died."""

    def __init__(self, pid: int, pipe: socket.socket) -> None:
        self._pid = pid
        self.pipe = pipe

    def serves(self) -> bool:
        """Return whether it serves, once `pipe` can be read; a dead one is collected."""
        serves = bool(self.pipe.recv(1))
        self.pipe.close()
        if not serves:
            os.waitpid(self._pid, 0)
        return serves


def spawn(proxy: Proxy, sockets: Sequence[socket.socket]) -> Successor:
    """Start the successor."""
    _write_rollback_file(proxy)
    ours, theirs = socket.socketpair()
    environment = {
        _INHERITED: ",".join(str(sock.fileno()) for sock in sockets),
        _READY: str(theirs.fileno()),
        "OBPROXY_ROOT": str(proxy.home),
        "OBPROXY_SIMULATION": os.environ.get("OBPROXY_SIMULATION", DEFAULT_PATH),
    }
    program = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
    pid = os.fork()
    if pid == 0:
        try:
            for sock in (*sockets, theirs):
                sock.set_inheritable(True)
            os.execve(program, [program], environment)  # noqa: S606
        finally:
            os._exit(1)
    theirs.close()
    return Successor(pid, ours)


def _write_rollback_file(proxy: Proxy) -> None:
    """Only a hot restart writes etc/obproxy_config.bin."""
    lines = (f"{name}={value}" for name, value in proxy.settings.stored().items())
    (proxy.home / "etc" / "obproxy_config.bin").write_text("\n".join(lines), encoding="utf-8")
