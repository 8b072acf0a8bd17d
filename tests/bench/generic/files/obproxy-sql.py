"""A mysql command line in small, since no OBProxy host has to have one: statements in, rows out.

Usage: obproxy-sql.py PORT. The first line of standard input is root@proxysys's password, each further one a statement.
Prints a JSON list with the rows of each statement, a row as {column name: text}. Logs in once.
"""

# The protocol wants sha1, and the host's Python may know no zip(strict=).
# ruff: noqa: S324, B905

import hashlib
import json
import socket
import struct
import sys

CAPABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000  # long password, protocol 4.1, secure connection, plugin auth


class Connection:
    """A login that is closed with the program."""

    def __init__(self, port: int, password: str) -> None:
        self.file = socket.create_connection(("127.0.0.1", port), 30).makefile("rwb")
        greeting = self.receive()
        rest = greeting[greeting.index(b"\0", 1) + 1 :]
        salt = rest[4:12] + rest[31:43]
        self.send(1, self.login(password.encode(), salt))
        self.receive()

    @staticmethod
    def login(password: bytes, salt: bytes) -> bytes:
        """HandshakeResponse41 with mysql_native_password."""
        one = hashlib.sha1(password).digest()
        mask = hashlib.sha1(salt + hashlib.sha1(one).digest()).digest()
        scramble = bytes(left ^ right for left, right in zip(one, mask)) if password else b""
        head = struct.pack("<IIB23x", CAPABILITIES, 2**24 - 1, 45)
        return head + b"root@proxysys\0" + bytes([len(scramble)]) + scramble + b"mysql_native_password\0"

    def send(self, sequence: int, payload: bytes) -> None:
        self.file.write(struct.pack("<I", len(payload))[:3] + bytes([sequence]) + payload)
        self.file.flush()

    def receive(self) -> bytes:
        """One packet; an error of the OBProxy ends the program with its text."""
        length = int.from_bytes(self.file.read(4)[:3], "little")
        payload = self.file.read(length)
        if payload[:1] == b"\xff":
            sys.exit(payload[9:].decode("utf-8", "replace"))
        return payload

    def rows(self, statement: str) -> "list[dict[str, str]]":
        self.send(0, b"\x03" + statement.encode())
        first = self.receive()
        if first[0] == 0:
            return []
        names = [texts(self.receive())[4] for _ in range(first[0])]
        self.receive()
        found = []  # type: list[dict[str, str]]
        while True:
            packet = self.receive()
            if packet[0] == 0xFE and len(packet) < 9:
                return found
            found.append(dict(zip(names, texts(packet))))


def texts(packet: bytes) -> "list[str]":
    """Return the length-encoded strings that a packet begins with; NULL is an empty one."""
    found, at = [], 0
    while at < len(packet):
        length, at = packet[at], at + 1
        if length == 0xFB:
            length = 0
        elif length in (0xFC, 0xFD):
            size = length - 0xFA
            length, at = int.from_bytes(packet[at : at + size], "little"), at + size
        found.append(packet[at : at + length].decode("utf-8", "replace"))
        at += length
    return found


if __name__ == "__main__":
    password, *statements = sys.stdin.read().splitlines()
    connection = Connection(int(sys.argv[1]), password)
    print(json.dumps([connection.rows(statement) for statement in statements]))
