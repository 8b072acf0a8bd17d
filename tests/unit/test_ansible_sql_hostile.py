"""A hostile SQL server receives no password and no file, and cannot exhaust the memory."""

import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils import sql
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Session, SqlError

from tests.unit.sql_servers import END, HANDSHAKE, NATIVE, Server, column, played

PASSWORD = "Needle#1é"
DISCLOSES = r"^it requests an authentication method that discloses the password \(code 2059\)$"


@pytest.mark.parametrize(
    "plugin", ["mysql_clear_password", "dialog", "sha256_password", "caching_sha2_password", "client_ed25519", "x"]
)
def test_no_other_login_than_the_challenge(plugin: str) -> None:
    def switch(server: Server) -> None:
        server.send(HANDSHAKE + NATIVE)
        server.receive()
        server.send(b"\xfe" + plugin.encode() + b"\0" + b"\x01Password: ")
        server.receive()

    with played(switch) as (channel, server), pytest.raises(SqlError, match=DISCLOSES):
        Session(channel, PASSWORD)

    assert server.heard and PASSWORD.encode() not in server.heard and PASSWORD.encode("latin-1") not in server.heard


@pytest.mark.parametrize("plugin", ["mysql_clear_password", "sha256_password", "caching_sha2_password"])
def test_no_other_login_when_the_handshake_requests_it(plugin: str) -> None:
    def send_handshake(server: Server) -> None:
        server.send(HANDSHAKE + plugin.encode() + b"\0")
        server.receive()
        server.send(b"\x01\x04")  # now in full
        server.receive()

    with played(send_handshake) as (channel, server), pytest.raises(SqlError):
        Session(channel, PASSWORD)

    assert NATIVE in server.heard and PASSWORD.encode() not in server.heard


def test_no_file_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("Needle#2")

    def request_file(server: Server) -> None:
        server.let_in()
        server.send(b"\xfb" + str(file).encode())
        server.receive()

    with (
        played(request_file) as (channel, server),
        Session(channel, PASSWORD) as session,
        pytest.raises(SqlError, match="does not speak the protocol"),
    ):
        session.rows("SHOW PROXYCONFIG")

    assert b"Needle#2" not in server.heard


@pytest.mark.parametrize("rows", ["endless rows", "one endless row"])
def test_endless_responses_are_cut_off(monkeypatch: pytest.MonkeyPatch, rows: str) -> None:
    monkeypatch.setattr(sql._Connection, "_left", 1_000_000)
    said = 0

    def go_on(server: Server) -> None:
        nonlocal said
        server.let_in()
        for payload in (b"\x01", column("info"), END):
            server.send(payload)
        while True:
            if rows == "endless rows":
                server.send(b"\xfc" + struct.pack("<H", 40_000) + b"x" * 40_000)
            else:
                server.channel.sendall(b"\xff\xff\xff" + b"\x04" + b"x" * 0xFFFFFF)
            said += 40_000

    with played(go_on) as (channel, _), Session(channel, PASSWORD) as session:
        with pytest.raises(SqlError, match=r"^it has sent more than 33554432 bytes \(code 2013\)$"):
            session.rows("SHOW PROXYCONFIG")
        assert not session._connection.open

    assert said < 3_000_000


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff", b"\xff\x01", b"\xfe", b"\x01\x00", b"\xfd\xff\xff\xff", b"\xfc", b"\x05", b"\xff" * 300, b"\0" * 99],
    ids=repr,
)
def test_bytes_that_are_no_answer_are_an_error_like_others(answer: bytes) -> None:
    def babble(server: Server) -> None:
        server.let_in()
        server.send(answer)
        server.channel.shutdown(socket.SHUT_WR)

    with played(babble) as (channel, _), Session(channel, PASSWORD) as session, suppress(SqlError):
        session.rows("SHOW PROXYCONFIG")
