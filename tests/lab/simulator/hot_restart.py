"""The hot restart: a new process takes over the listening sockets of the old one (docs/reference/obproxy.md 2.6).

As with the original the new process is argv[0] again, found anew from the current directory, without any argument and
with hardly any environment; it keeps the process group.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from .proxy import Proxy
from .simulation import DEFAULT_PATH

_INHERITED = "OBPROXY_INHERITED_FDS"


def is_successor() -> bool:
    """Whether this process was started by a hot restart."""
    return _INHERITED in os.environ


def inherited_sockets() -> list[socket.socket]:
    """The predecessor's listening sockets, SQL first; once only."""
    numbers = os.environ.pop(_INHERITED, "")
    return [socket.socket(fileno=int(number)) for number in numbers.split(",") if number]


def spawn(proxy: Proxy, sockets: Sequence[socket.socket]) -> None:
    """Starts the successor."""
    _write_rollback_file(proxy)
    environment = {
        _INHERITED: ",".join(str(sock.fileno()) for sock in sockets),
        "OBPROXY_ROOT": str(proxy.home),
        "OBPROXY_SIMULATION": os.environ.get("OBPROXY_SIMULATION", DEFAULT_PATH),
    }
    program = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
    for sock in sockets:
        sock.set_inheritable(True)
    if os.fork() == 0:
        try:
            os.execve(program, [program], environment)  # noqa: S606
        finally:
            os._exit(1)


def _write_rollback_file(proxy: Proxy) -> None:
    """Only a hot restart writes etc/obproxy_config.bin."""
    lines = (f"{name}={value}" for name, value in proxy.settings.stored().items())
    (proxy.home / "etc" / "obproxy_config.bin").write_text("\n".join(lines), encoding="utf-8")
