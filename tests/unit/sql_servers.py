"""SQL servers that send any bytes, at the other end of a connection."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HANDSHAKE = b"\x0a5.6.25\0" + struct.pack("<I", 7) + b"a" * 8 + b"\0" + struct.pack("<H", 0xF7DF)
HANDSHAKE += b"\x2d\x02\x00" + struct.pack("<H", 0x9F) + b"\x15" + b"\0" * 10 + b"b" * 12 + b"\0"
OK = b"\0\0\0\x02\0\0\0"
NATIVE = b"mysql_native_password\0"
END = b"\xfe\0\0\x02\0"


def text(value: str) -> bytes:
    """Return a text with its length."""
    return bytes([len(value.encode())]) + value.encode()


def column(name: str) -> bytes:
    """Return the definition of a column of texts."""
    return b"\x03def\0\0\0" + text(name) + b"\0\x0c" + struct.pack("<HIBHB", 45, 4096, 253, 0, 0) + b"\0\0"


def error(code: int, message: str) -> bytes:
    """Return the rejection of a login or statement."""
    return b"\xff" + struct.pack("<H", code) + b"#HY000" + message.encode()


class Server:
    """Sends any bytes, and keeps all it receives."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.heard = b""
        self.sent = 0
        self._sequence = 0

    def send(self, payload: bytes) -> None:
        packet = struct.pack("<I", len(payload))[:3] + bytes([self._sequence % 256]) + payload
        self.channel.sendall(packet)
        self.sent += len(packet)
        self._sequence += 1

    def receive(self) -> None:
        heard = self.channel.recv(65536)
        self.heard += heard
        self._sequence = heard[3] + 1 if len(heard) > 3 else 0

    def let_in(self, handshake: bytes = HANDSHAKE) -> None:
        self.send(handshake + NATIVE)
        self.receive()
        self.accept()

    def accept(self) -> None:
        """Accept the login and everything before the first SHOW."""
        while b"SHOW" not in self.heard:
            self.send(OK)
            self.receive()


@contextmanager
def played(script: Callable[[Server], None]) -> Iterator[tuple[socket.socket, Server]]:
    """Yield the client's end of a connection to a server that follows `script`."""
    here, there = socket.socketpair()
    server = Server(there)

    def play() -> None:
        with suppress(OSError):  # the client has had enough
            script(server)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield here, server
    finally:
        here.close()
        with suppress(OSError):  # it is already
            there.shutdown(socket.SHUT_RDWR)
        thread.join()
        there.close()
