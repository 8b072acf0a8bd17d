"""A session with an SQL server: login, rows, errors, and the limits of time and size."""

import hashlib
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pymysql
import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils import sql
from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Denied, Session, SqlError
from ansible_collections.obproxy.takeover.plugins.module_utils.tunnel import Tunnels

from tests.unit.sql_servers import END, HANDSHAKE, NATIVE, Server, column, error, played, text

PASSWORD = "Needle#1é"
SALT = b"a" * 8 + b"b" * 12  # of the handshake
WITH_SSL = HANDSHAKE.replace(struct.pack("<H", 0xF7DF), struct.pack("<H", 0xFFDF))
ROWS = (b"\x02", column("name"), column("value"), END, text("a") + text("1"), text("b") + text("é"), END)


def answering(*packets: bytes, handshake: bytes = HANDSHAKE) -> Callable[[Server], None]:
    """Return the script of a server that accepts the login and answers the first SHOW by these packets."""

    def script(server: Server) -> None:
        server.let_in(handshake)
        for packet in packets:
            server.send(packet)
        server.receive()

    return script


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def proof(salt: bytes) -> bytes:
    """Return the answer of mysql_native_password to a challenge: it shows that the client knows the password."""
    once = _sha1(PASSWORD.encode())
    hidden = _sha1(salt + _sha1(once))
    return bytes(one ^ other for one, other in zip(once, hidden, strict=True))


def test_rows_are_read_by_the_names_of_their_columns() -> None:
    with played(answering(*ROWS)) as (channel, server), Session(channel, PASSWORD) as session:
        assert session.rows("SHOW PROXYCONFIG LIKE 'é%'") == [{"name": "a", "value": "1"}, {"name": "b", "value": "é"}]

    assert "SHOW PROXYCONFIG LIKE 'é%'".encode() in server.heard


def test_health_checks_and_changes_are_sent_as_obproxy_supports_them() -> None:
    with played(answering(*ROWS)) as (channel, server), Session(channel, PASSWORD) as session:
        session.ping()
        session.alter("work_thread_num", "8")
        session.rows("SHOW PROXYCONFIG")

    assert b"\1\0\0\0\x0e" in server.heard  # COM_PING
    assert b"ALTER PROXYCONFIG SET work_thread_num = '8'" in server.heard
    with pytest.raises(SqlError, match="Already closed"):
        session.ping()


def test_the_login_proves_the_password_without_encryption() -> None:
    with played(answering(*ROWS, handshake=WITH_SSL)) as (channel, server), Session(channel, PASSWORD) as session:
        session.rows("SHOW PROXYCONFIG")

    assert server.heard[36:].startswith(b"root@proxysys\0\x14" + proof(SALT) + NATIVE)


def test_a_server_may_repeat_the_challenge() -> None:
    def repeat(server: Server) -> None:
        server.send(HANDSHAKE + NATIVE)
        server.receive()
        server.send(b"\xfe" + NATIVE + b"c" * 20 + b"\0")
        server.receive()
        server.accept()
        for packet in ROWS:
            server.send(packet)

    with played(repeat) as (channel, server), Session(channel, PASSWORD) as session:
        assert len(session.rows("SHOW PROXYCONFIG")) == 2

    assert proof(b"c" * 20) in server.heard


def test_a_rejected_login_is_denied() -> None:
    def reject(server: Server) -> None:
        server.send(HANDSHAKE + NATIVE)
        server.receive()
        server.send(error(1045, "Access denied"))

    with played(reject) as (channel, _), pytest.raises(Denied, match=r"^Access denied \(code 1045\)$"):
        Session(channel, PASSWORD)


def test_a_failed_login_of_an_action_has_the_code_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: listening.accept()[0].close())
        with Tunnels(None, "localhost", "python3") as tunnels, pytest.raises(SqlError) as failed:
            HostAction.__new__(HostAction).log_in(tunnels, listening.getsockname(), [("cluster", PASSWORD)])
    assert str(failed.value).count("(code 2013)") == 1


def test_the_end_of_ssh_s_errors_has_the_reason() -> None:
    script = "yes debug1: Needle#1 | head -c 6000; echo; echo Connection refused by the host"

    def ssh(*_: str) -> list[bytes]:
        return [b"sh", b"-c", f"({script}) >&2".encode()]

    with Tunnels(ssh, "odp-1", "python3") as tunnels:
        assert tunnels.channel("127.0.0.1", 2883).recv(1) == b""
        lines = tunnels.ssh_error().splitlines()
    assert lines[-1] == "Connection refused by the host"
    assert lines[0] == "debug1: Needle#1" and len(lines) > 100


def test_a_rejected_statement_keeps_code_and_text_of_obproxy() -> None:
    rejection = answering(error(4147, "Invalid config"))
    with (
        played(rejection) as (channel, _),
        Session(channel, PASSWORD) as session,
        pytest.raises(SqlError, match=r"^Invalid config \(code 4147\)$") as raised,
    ):
        session.rows("SHOW PROXYCONFIG")

    assert type(raised.value) is SqlError
    assert (raised.value.code, raised.value.text) == (4147, "Invalid config")


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (pymysql.err.OperationalError(1045, "Access denied"), Denied(1045, "Access denied")),
        (pymysql.err.ProgrammingError(1064, "syntax"), SqlError(1064, "syntax")),
        (pymysql.err.InternalError("Packet sequence number wrong"), SqlError(2013, "Packet sequence number wrong")),
        (pymysql.err.InterfaceError(0, ""), SqlError(0, "0")),
        (pymysql.err.Error(), SqlError(2013, "")),
        (OSError("reset"), SqlError(2013, "the connection was lost: reset")),
        (struct.error("short"), SqlError(2027, "it does not speak the protocol (error)")),
        (IndexError("short"), SqlError(2027, "it does not speak the protocol (IndexError)")),
    ],
    ids=repr,
)
def test_every_error_of_a_session_has_a_code_and_a_text(cause: Exception, expected: SqlError) -> None:
    with pytest.raises(SqlError) as raised, sql._translate_errors():
        raise cause

    assert (type(raised.value), raised.value.code, raised.value.text) == (type(expected), expected.code, expected.text)


class Timed(socket.socket):
    """Records its time limits."""

    limits: set[float | None]

    def settimeout(self, limit: float | None) -> None:
        self.limits = {*getattr(self, "limits", ()), limit}
        super().settimeout(limit)


def test_everything_sent_and_received_has_the_time_limit_of_obproxys_statements() -> None:
    with played(answering(*ROWS)) as (channel, _), Timed(fileno=channel.detach()) as timed:
        with Session(timed, PASSWORD) as session:
            session.rows("SHOW PROXYCONFIG")

        assert timed.limits == {30}


def test_the_size_limit_counts_all_bytes_of_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> int:
        with played(answering(*ROWS)) as (channel, server), Session(channel, PASSWORD) as session:
            session.rows("SHOW PROXYCONFIG")
        return server.sent

    size = read()
    monkeypatch.setattr(sql._Connection, "_left", size)
    assert read() == size
    monkeypatch.setattr(sql._Connection, "_left", size - 1)
    with pytest.raises(SqlError, match="has sent more than"):
        read()
