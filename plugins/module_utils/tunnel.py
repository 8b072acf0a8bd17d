"""Opens sockets to the host's own addresses through Ansible's SSH connection.

OBProxy accepts root@proxysys only from loopback (docs/reference/obproxy.md 4.2), a firewall may block its port, and
ALTER sends passwords as clear text. SQL therefore runs inside SSH.
"""

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import IO

from .addresses import format_address

CONNECT_TIMEOUT = 10
_ERRORS_LIMIT = 4000  # bytes
Command = Callable[..., Sequence[bytes]]

# Program on the host that replaces forwarding where sshd rejects it. Its arguments contain no secret.
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
    """The host's port could not be reached; the text is the error of ssh or the system."""


class Tunnels:
    """Opens channels to addresses of one host, and closes them at the end of the `with` block.

    `ssh` builds a command line from the arguments after the ssh program's options. None: the host is this machine.
    """

    def __init__(self, ssh: Command | None, host: str, python: str) -> None:
        self._ssh, self._host, self._python = ssh, host, python
        self._uses_relay = False
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
        """Return a connected socket; raise TunnelError on this machine. An error of ssh appears at the first read."""
        if self._ssh is None:
            try:
                channel = socket.create_connection((address, port), CONNECT_TIMEOUT)
            except OSError as error:
                raise TunnelError(str(error)) from error
            self._open.append((channel, None, None))
            return channel
        target = format_address(address, port)
        arguments = (
            [self._host, *self._relay_command(address, port)] if self._uses_relay else ["-W", target, self._host]
        )
        ours, theirs = socket.socketpair()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the tunnel
        with theirs:
            process = subprocess.Popen(
                list(self._ssh(*arguments)), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=errors
            )
        self._open.append((ours, process, errors))
        return ours

    def _relay_command(self, address: str, port: int) -> list[str]:
        quoted = _RELAY.replace("'", "'\\''")
        return [f"{self._python} -IS -c '{quoted}' {address} {port}"]

    def ssh_error(self) -> str:
        """Return the end of the standard error of the last channel's ssh process, where its reason is."""
        for _, process, errors in reversed(self._open):
            if process is not None and errors is not None:
                _end(process)
                cut = max(0, errors.seek(0, os.SEEK_END) - _ERRORS_LIMIT)
                errors.seek(cut)
                text = errors.read(_ERRORS_LIMIT).decode("utf-8", "replace")
                # No part of a line, because masking does not find a part of a secret.
                return (text.partition("\n")[2] if cut else text).strip()
        return ""

    def use_relay(self) -> bool:
        """Switch to the relay if sshd rejected forwarding; return whether another attempt makes sense.

        Through a ControlMaster, ssh reports rejected forwarding and a rejected connection alike.
        """
        rejections = ("administratively prohibited", "Session open refused by peer")
        if self._uses_relay or self._ssh is None or not any(words in self.ssh_error() for words in rejections):
            return False
        self._uses_relay = True
        return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait one second for ssh, which exits when its socket is closed; then kill it."""
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
