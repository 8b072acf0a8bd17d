"""Sends recorded entries to a simulated OBProxy and reports differences of its responses."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor

from . import observations
from .observations import Entry

_LOST = 2013


if TYPE_CHECKING:
    _Connection = pymysql.Connection[Cursor]
else:
    _Connection = pymysql.Connection  # generic in its type description only


class SpyConnection(_Connection):
    """Keeps the last payload, since PyMySQL throws the SQLSTATE away."""

    last_payload = b""

    def _read_bytes(self, num_bytes: int) -> bytes:
        data: bytes = super()._read_bytes(num_bytes)  # type: ignore[misc]
        self.last_payload = data
        return data

    @property
    def sqlstate(self) -> str | None:
        payload = self.last_payload
        return payload[4:9].decode() if payload[:1] == b"\xff" and payload[3:4] == b"#" else None


class Replay:
    """A conversation with one instance. ports maps the recorded ports to those of the instance."""

    def __init__(self, address: str, ports: dict[str, int], password: str, *, several: bool = False) -> None:
        self._address = address
        self._ports = {recorded: str(actual) for recorded, actual in ports.items()}
        self._sql_port = next(iter(ports.values()))
        self._password = password
        self._flags = CLIENT.MULTI_STATEMENTS if several else 0
        self._connection: SpyConnection | None = None

    def differences(self, entries: Iterable[Entry]) -> list[str]:
        """One sentence per entry that is answered differently. Entries about other things are passed over."""
        found = []
        for entry in entries:
            kind, _, detail = observations.comparison(entry).partition(":")
            if kind == "login":
                what = self._login(entry, detail)
            elif kind == "command":
                what = self._command(entry)
            elif kind == "statement":
                what = self._statement(entry)
            else:
                continue
            found += [f"{entry.setup} {entry.user} {entry.sql!r}: {difference}" for difference in what]
        self.close()
        return found

    def close(self) -> None:
        if self._connection and self._connection.open:
            self._connection.close()
        self._connection = None

    def connect(self, user: str = "root@proxysys", password: str | None = None) -> SpyConnection:
        return SpyConnection(
            host=self._address,
            port=self._sql_port,
            user=user,
            password=self._password if password is None else password,
            client_flag=self._flags,
            read_timeout=10,
        )

    def _login(self, entry: Entry, password: str) -> list[str]:
        error = None
        try:
            self.connect(entry.user, password).close()
        except pymysql.err.OperationalError as refusal:
            error = refusal.args[:2]
        wanted = (entry.error[0], entry.error[2]) if entry.error else None
        return _compare("login", error, wanted)

    def _command(self, entry: Entry) -> list[str]:
        code, argument = observations.COMMANDS[entry.sql]
        connection = self._get()
        connection._execute_command(code, argument)  # type: ignore[attr-defined]
        found: list[str] = []
        try:
            connection._read_packet()  # type: ignore[no-untyped-call]
        except pymysql.MySQLError as error:
            found += _compare("error", error.args[0], _expected_code(entry))
        if isinstance(entry.result, str) and "\\xff" in entry.result:
            found += _compare("payload", repr(connection.last_payload), entry.result)
        return found + self._usable(entry)

    def _statement(self, entry: Entry) -> list[str]:
        other_user = entry.user != "root@proxysys"
        connection = self.connect(entry.user) if other_user else self._get()
        try:
            found = self._query(entry, connection)
        finally:
            if other_user:
                connection.close()
        return found if other_user else found + self._usable(entry)

    def _query(self, entry: Entry, connection: SpyConnection) -> list[str]:
        cursor = connection.cursor()
        statement = entry.statement
        for recorded, actual in self._ports.items():
            statement = statement.replace(recorded, actual)
        try:
            cursor.execute(statement)
        except pymysql.MySQLError as error:
            return self._compare_error(entry, connection, error)
        if entry.error:
            return [f"no error, but {entry.error} is wanted"]
        if not entry.columns:
            return _compare("result set", cursor.description, None)
        description = cursor.description or ()
        found = _compare("columns", [column[0] for column in description], entry.columns)
        found += _compare("types", [column[1] for column in description], entry.column_types)
        return found + self._compare_rows(entry, [self._normal(row) for row in cursor.fetchall()])

    def _compare_error(self, entry: Entry, connection: SpyConnection, error: pymysql.MySQLError) -> list[str]:
        if not entry.error:
            return [f"unexpected error {error}"]
        code, sqlstate, message = entry.error
        if code is None:
            return _compare("message", str(error.args[0]), message)
        found = _compare("error", error.args[:2], (code, message))
        return found if code == _LOST else found + _compare("sqlstate", connection.sqlstate, sqlstate)

    def _compare_rows(self, entry: Entry, rows: list[list[Any]]) -> list[str]:
        if entry.sql in observations.INSTANCE_ROWS:
            return []
        if entry.sql == "show proxyconfig":
            # Recorded in full, but without the texts; the time is the instance's own.
            wanted = {row[0]: row for row in entry.all_rows if row[0] != "json_config_modified_time"}
            actual = {row[0]: [*row[:2], *row[3:]] for row in rows if row[0] != "json_config_modified_time"}
            found = [f"row {actual.get(name)}, wanted {row}" for name, row in wanted.items() if actual.get(name) != row]
            return found + _compare("order", [row[0] for row in rows], [row[0] for row in entry.all_rows])
        if entry.sql.startswith("show proxyconfig diff"):
            # The recorded instance had these two at their defaults; here they are free ports of this machine.
            rows = [row for row in rows if row[0] not in ("rpc_listen_port", "prometheus_listen_port")]
        expected = entry.all_rows or entry.rows
        found = _compare("rows", rows[: len(expected)], expected)
        if entry.sql not in observations.RECORDED_IN_PART:
            count = len(expected) if entry.row_count is None else entry.row_count
            found += _compare("number of rows", len(rows), count)
        return found

    def _normal(self, row: Iterable[Any]) -> list[Any]:
        """Return the row with the instance's ports written as the recorded ones."""
        back = {actual: recorded for recorded, actual in self._ports.items()}
        return [back.get(value, value) for value in row]

    def _usable(self, entry: Entry) -> list[str]:
        """Return whether the connection is usable as recorded; connect again when it is closed."""
        connection = self._get()
        try:
            connection.ping(reconnect=False)
            usable = True
        except (pymysql.MySQLError, OSError):
            usable = False
        if not usable:
            self.close()
        return _compare("connection lives on", usable, entry.connection_usable_after is not False)

    def _get(self) -> SpyConnection:
        if self._connection is None:
            self._connection = self.connect()
        return self._connection


def _expected_code(entry: Entry) -> int | None:
    if entry.error:
        return entry.error[0]
    if not isinstance(entry.result, str) or "\\xff" not in entry.result:
        return _LOST
    # b'\xff\x92\x13#...': the code is the second and third byte.
    payload = entry.result[2:-1].encode("latin-1").decode("unicode_escape").encode("latin-1")
    return int.from_bytes(payload[1:3], "little")


def _compare(what: str, actual: object, wanted: object) -> list[str]:
    return [] if actual == wanted else [f"{what} {actual!r}, wanted {wanted!r}"]
