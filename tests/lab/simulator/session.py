"""One client connection as a state machine: bytes in, replies out, no I/O."""

import os
from dataclasses import dataclass

from . import admin, answers, observer, wire
from .answers import Answer
from .login import parse_name, refusal
from .proxy import Client, Proxy

_NO_ROUTE_DELAY = 1.0  # how long the real one looks for an observer before it hangs up
_AUTOCOMMIT = 0x0002


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Bytes to send after `delay` seconds; then, if `close` is set, the end of the connection."""

    data: bytes = b""
    close: bool = False
    delay: float = 0.0


class Session:
    """Feed it with what arrives; while a delayed reply is due, only keep it."""

    def __init__(self, proxy: Proxy, peer: tuple[str, int]) -> None:
        self._proxy = proxy
        self._peer = peer
        self._id = proxy.next_connection_id()
        self._salt = os.urandom(20).hex()[:20].encode() if proxy.settings.is_on("enable_proxy_scramble") else wire.SALT
        self._buffer = bytearray()
        self._client: Client | None = None
        self._is_administrator = False

    def greeting(self) -> bytes:
        return wire.greeting(self._id, self._proxy.settings["mysql_version"], self._salt)

    def receive(self, data: bytes) -> Reply | None:
        """Take received bytes and answer the first whole packet; call again with b"" for further ones."""
        self._buffer += data
        try:
            taken = wire.take_packet(self._buffer)
            if taken is None:
                return None
            sequence, payload = taken
            return self._command(payload) if self._client else self._login(sequence, payload)
        except wire.BadPacket:
            # The real one's answer carries the wrong sequence number, by which clients give up.
            return Reply(data=answers.encode(answers.BAD_COMMAND), close=True)

    def keep(self, data: bytes) -> None:
        """Take bytes that arrive while an answer is still due."""
        self._buffer += data

    def closed(self) -> None:
        """Handle the end of the connection."""
        if self._client:
            self._proxy.clients.pop(self._id, None)
            if not self._is_administrator:
                self._proxy.metrics.disconnected()
            self._client = None

    def _login(self, sequence: int, payload: bytes) -> Reply:
        login = wire.read_login(payload)
        name = parse_name(login.user)
        refused = refusal(self._proxy, login, self._peer[0], self._salt)
        if isinstance(refused, answers.Hangup):
            return Reply(close=True, delay=_NO_ROUTE_DELAY if name.user else 0.0)
        if refused:
            return Reply(data=wire.error(sequence + 1, refused.code, refused.sqlstate, refused.message), close=True)
        cluster = name.cluster if name.cluster and not name.is_administrator else self._proxy.cluster
        self._client = Client(id=self._id, peer=self._peer, cluster=cluster, tenant=name.tenant, user=name.user)
        self._is_administrator = name.is_administrator
        self._proxy.clients[self._id] = self._client
        if not self._is_administrator:
            self._proxy.metrics.connected(cluster, name.tenant)
        return Reply(data=wire.ok(sequence + 1, status=self._status))

    def _command(self, payload: bytes) -> Reply:
        assert self._client
        code, argument = (payload[0], payload[1:]) if payload else (0, b"")
        if code == admin.COM_QUIT:
            return Reply(close=True)
        answer: Answer
        if self._is_administrator:
            answer, delay = admin.command(self._proxy, self._client, code, argument), 0.0
        else:
            answer, delay = observer.command(self._proxy, self._client, code, argument)
        delay += self._proxy.simulation.seconds("answer_delay")
        if isinstance(answer, answers.Hangup):
            return Reply(close=True, delay=delay)
        return Reply(data=answers.encode(answer, status=self._status), delay=delay)

    @property
    def _status(self) -> int:
        # Answers of the proxy itself never carry the autocommit flag; an observer's do.
        return 0 if self._is_administrator else _AUTOCOMMIT
