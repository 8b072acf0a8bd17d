"""The MySQL client/server protocol, as far as an OBProxy speaks it: bytes to messages and back, without any I/O.

Values that look odd (constant salt, capabilities 0x9ff7df, column type 15, status 0, charset 45) are those of a real
OBProxy 4.3.1: docs/reference/obproxy-observed.md "Handshake and login", docs/reference/obproxy.md 4.4.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

CAPABILITIES = 0x9FF7DF
SALT = b"a" * 8 + b"b" * 12
MAX_PAYLOAD = 0xFFFFFF

SECURE_CONNECTION = 0x8000

LONG, LONGLONG, VARCHAR = 3, 8, 15

Value = str | int | None


class BadPacket(Exception):
    """The bytes are not what the protocol wants here."""


@dataclass(frozen=True, kw_only=True)
class Login:
    user: str
    scramble: bytes


def packet(sequence: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([sequence & 0xFF]) + payload


def take_packet(buffer: bytearray) -> tuple[int, bytes] | None:
    """Cuts the first whole packet off the buffer: (sequence, payload), or None while it is incomplete.

    A payload of 16 MB and more comes in several packets. The real one loses count there, so when all of it has come
    it is a BadPacket.
    """
    start = 0
    while True:
        if len(buffer) < start + 4:
            return None
        length = int.from_bytes(buffer[start : start + 3], "little")
        end = start + 4 + length
        if len(buffer) < end:
            return None
        if length < MAX_PAYLOAD:
            break
        start = end
    sequence, payload = buffer[3], bytes(buffer[start + 4 : end])
    del buffer[:end]
    if start:
        raise BadPacket("payload of more than one packet")
    return sequence, payload


def greeting(connection_id: int, server_version: str, salt: bytes) -> bytes:
    return packet(
        0,
        b"\x0a"
        + server_version.encode()
        + b"\0"
        + struct.pack("<I", connection_id)
        + salt[:8]
        + b"\0"
        + struct.pack("<HBHH", CAPABILITIES & 0xFFFF, 46, 0, CAPABILITIES >> 16)
        + bytes([21])
        + bytes(10)
        + salt[8:]
        + b"\0mysql_native_password\0",
    )


def read_login(payload: bytes) -> Login:
    """HandshakeResponse41 of a client that was offered neither TLS nor length-encoded auth data."""
    if len(payload) < 33:
        raise BadPacket("login packet too short")
    user, _, rest = payload[32:].partition(b"\0")
    capabilities = struct.unpack_from("<I", payload)[0]
    if capabilities & SECURE_CONNECTION:
        scramble = rest[1 : 1 + rest[0]] if rest else b""
    else:
        scramble = rest.partition(b"\0")[0]
    return Login(user=user.decode("utf-8", "replace"), scramble=scramble)


def scramble_matches(stage1_hex: str, scramble: bytes, salt: bytes) -> bool:
    """Return whether the answer to the challenge matches the password whose sha1 is stage1_hex ("" = no password)."""
    if not stage1_hex or not scramble:
        return not stage1_hex and not scramble
    try:
        stage1 = bytes.fromhex(stage1_hex)
    except ValueError:
        return False
    mask = _sha1(salt + _sha1(stage1))
    return len(scramble) == len(mask) and bytes(a ^ b for a, b in zip(mask, scramble, strict=True)) == stage1


def sha1_hex(password: str) -> str:
    """Return the stored form of a password: sha1 in hex, empty for an empty password.

    See docs/reference/obproxy.md 4.3.
    """
    return _sha1(password.encode()).hex() if password else ""


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def ok(sequence: int, *, affected_rows: int = 0, status: int = 0) -> bytes:
    return packet(sequence, b"\0" + _length(affected_rows) + b"\0" + struct.pack("<HH", status, 0))


def error(sequence: int, code: int, sqlstate: str, message: str) -> bytes:
    return packet(sequence, b"\xff" + struct.pack("<H", code) + b"#" + sqlstate.encode() + message.encode())


def result_set(
    sequence: int, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[Value]], *, status: int = 0
) -> bytes:
    """Text protocol result set; columns are (name, type byte)."""
    eof = b"\xfe" + struct.pack("<HH", 0, status)
    payloads = [_length(len(columns)), *(_column(name, kind) for name, kind in columns), eof]
    payloads += [b"".join(map(_text, row)) for row in rows]
    payloads.append(eof)
    return b"".join(packet(sequence + offset, payload) for offset, payload in enumerate(payloads))


def _column(name: str, kind: int) -> bytes:
    strings = (b"def", b"", b"", b"", name.encode(), name.encode())
    return b"".join(_length(len(s)) + s for s in strings) + b"\x0c" + struct.pack("<HIBHBH", 45, 0, kind, 0, 0, 0)


def _text(value: Value) -> bytes:
    if value is None:
        return b"\xfb"
    data = str(value).encode()
    return _length(len(data)) + data


def _length(number: int) -> bytes:
    if number < 251:
        return bytes([number])
    if number < 1 << 16:
        return b"\xfc" + struct.pack("<H", number)
    return b"\xfd" + struct.pack("<I", number)[:3]
