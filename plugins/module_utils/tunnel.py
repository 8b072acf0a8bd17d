"""A socket to one of the host's own addresses, through the connection that Ansible has anyway.

OBProxy lets root@proxysys in from loopback only (docs/reference/obproxy.md 4.2), its port may be behind a firewall, and
ALTER carries passwords in clear: so SQL travels inside ssh.
"""

import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import IO

from .addresses import told

CONNECT_SECONDS = 10
Command = Callable[..., Sequence[bytes]]

# Where sshd refuses forwarding, a few lines on the host do the same. No secret is in its arguments.
_RELAY = """
import os, socket, sys, threading
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
peer.settimeout(None)
def upstream():
    while True:
        data = os.read(0, 65536)
        if not data:
            break
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
threading.Thread(target=upstream, daemon=True).start()
while True:
    data = peer.recv(65536)
    if not data:
        break
    while data:
        data = data[os.write(1, data):]
"""


class TunnelError(Exception):
    """The host's port could not be reached; the text is ssh's or the system's own."""


class Tunnels:
    """Opens channels to addresses and ports as one host sees them; the end of the `with` block closes all of them.

    `ssh` builds a command line from the arguments that follow the ssh program's options; None means that the host is
    this machine.
    """

    def __init__(self, ssh: Command | None, host: str, python: str) -> None:
        self._ssh, self._host, self._python = ssh, host, python
        self._relayed = False
        self._open: list[tuple[socket.socket, subprocess.Popen[bytes] | None, IO[bytes] | None]] = []

    def __enter__(self) -> "Tunnels":
        return self

    def __exit__(self, *_: object) -> None:
        for channel, process, errors in self._open:
            channel.close()
            if process is not None:
                _end(process)
            if errors is not None:
                errors.close()

    def channel(self, address: str, port: int) -> socket.socket:
        """A connected socket; raises TunnelError only for the local case, ssh fails at the first read."""
        if self._ssh is None:
            try:
                channel = socket.create_connection((address, port), CONNECT_SECONDS)
            except OSError as error:
                raise TunnelError(str(error)) from error
            self._open.append((channel, None, None))
            return channel
        target = told(address, port)
        arguments = [self._host, *self._relay(address, port)] if self._relayed else ["-W", target, self._host]
        ours, theirs = socket.socketpair()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the tunnel
        with theirs:
            process = subprocess.Popen(
                list(self._ssh(*arguments)), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=errors
            )
        self._open.append((ours, process, errors))
        return ours

    def _relay(self, address: str, port: int) -> list[str]:
        quoted = _RELAY.replace("'", "'\\''")
        return [f"{self._python} -IS -c '{quoted}' {address} {port}"]

    def said(self) -> str:
        """What the last channel's ssh wrote to its standard error, for a message; empty when it is silent."""
        for _, process, errors in reversed(self._open):
            if process is not None and errors is not None:
                _end(process)
                errors.seek(0)
                return errors.read(4000).decode("utf-8", "replace").strip()
        return ""

    def fall_back(self) -> bool:
        """Switch to the relay when ssh said that forwarding is not allowed; whether it is worth another try.

        Through a ControlMaster ssh does not tell a refused forwarding from a refused connection.
        """
        refusals = ("administratively prohibited", "Session open refused by peer")
        if self._relayed or self._ssh is None or not any(words in self.said() for words in refusals):
            return False
        self._relayed = True
        return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """ssh ends by itself when its socket closes; it gets a second for it."""
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
