"""Part of host programs: finds the process that listens or answers at a TCP port, and counts its clients."""

# ruff: noqa: PTH115, PTH123, PTH208

import errno
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LISTENING, ESTABLISHED = "0A", "01"
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ESRCH)  # the process has ended, or is a kernel thread
HANDSHAKE_BYTES = 5  # the first bytes of a MySQL handshake packet
WILDCARD_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def rows(state: str) -> "list[tuple[str, int, int, str]]":
    """Return the TCP sockets in a state: local address, local port, remote port, inode."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                lines = file.read().splitlines()[1:]
        except OSError:  # a host without IPv6
            continue
        for line in lines:
            fields = line.split(None, 10)
            if fields[3] == state:
                address, port = fields[1].split(":")
                found.append((address_of(address), int(port, 16), int(fields[2].rpartition(":")[2], 16), fields[9]))
    return found


def address_of(text: str) -> str:
    """Return the address of /proc/net, which is in host byte order, as text."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, b"".join(words))


def listens(port: int) -> bool:
    """Return whether anything listens on a TCP port of this host."""
    return any(local == port for _, local, _, _ in rows(LISTENING))


def socket_inodes(pid: int) -> "tuple[set[str], str]":
    """Return the inodes of all sockets that a process holds, and why they cannot be read."""
    directory = f"/proc/{pid}/fd/"
    try:
        names = os.listdir(directory)
    except OSError as error:
        return set(), "" if error.errno in ABSENT else str(error.strerror)
    found = set()
    for name in names:
        try:
            target = os.readlink(directory + name)
        except OSError:  # closed since; a busy process opens and closes sockets all the time
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found, ""


def ports_of(pid: int) -> "list[int]":
    """Return the ports at which a process listens."""
    inodes, _ = socket_inodes(pid)
    return sorted({port for _, port, _, inode in rows(LISTENING) if inode in inodes})


def connections_of(pid: int, port: int) -> int:
    """Return how many clients are connected to a process at a port."""
    inodes, _ = socket_inodes(pid)
    return sum(1 for _, local, _, inode in rows(ESTABLISHED) if local == port and inode in inodes)


def answering_process(port: int, pids: "Iterable[int]", seconds: float) -> "int | None":
    """Return which of these processes sends a SQL handshake at a port, None when none does.

    During a hot restart several processes hold the listening socket, but only one accepts connections.
    """
    for address in {WILDCARD_ADDRESSES.get(found, found) for found, local, _, _ in rows(LISTENING) if local == port}:
        try:
            with socket.create_connection((address, port), timeout=seconds) as client:
                if len(client.recv(HANDSHAKE_BYTES)) < HANDSHAKE_BYTES:
                    continue
                mine = client.getsockname()[1]
                accepted = {inode for _, local, remote, inode in rows(ESTABLISHED) if (local, remote) == (port, mine)}
                found = [pid for pid in pids if accepted & socket_inodes(pid)[0]]
        except OSError:
            continue
        if found:
            return found[0]
    return None
