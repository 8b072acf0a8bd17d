"""SQL at a host's own loopback, through ssh: from elsewhere an OBProxy 4.3.1 rejects its administrator."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pymysql
from pymysql.cursors import Cursor

from .host import LabHost
from .lab import Lab

if TYPE_CHECKING:
    Connection = pymysql.Connection[Cursor]
else:
    Connection = pymysql.Connection  # generic in its type description only


@contextlib.contextmanager
def admin(lab: Lab, host: LabHost, password: str, *, sql_port: int | None = None) -> Iterator[Connection]:
    """Open a connection as root@proxysys. Raise pymysql's errors."""
    port = sql_port or host.sql_port
    here, there = socket.socketpair()
    command = lab.ssh_command(host)
    command[1:1] = ["-W", f"127.0.0.1:{port}"]
    with here, subprocess.Popen(command, stdin=there.fileno(), stdout=there.fileno()) as process:
        there.close()
        try:
            connection = pymysql.connect(user="root@proxysys", password=password, defer_connect=True, read_timeout=10)
            connection.connect(here)
            with connection:
                yield connection
        finally:
            process.terminate()


def query(connection: Connection, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
