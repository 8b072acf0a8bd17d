"""Runs OBProxy's admin SQL as root@proxysys, by PyMySQL over a given socket.

It sends only what OBProxy supports: text protocol, COM_PING, no SELECT 1, no SHOW WARNINGS, no USE, no prepared
statements (docs/reference/obproxy.md 4.5, docs/reference/obproxy-observed.md "Clients").
"""

import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import pymysql
import pymysql.connections
import pymysql.cursors

from .parameter_values import Difference, alter_statement, is_same_value

STATEMENT_TIMEOUT = 30  # seconds, OBProxy's own limit for internal commands (docs/reference/obproxy.md 4.6)
SESSION_LIMIT = 32 * 1024 * 1024  # bytes of all responses in one session; 300 parameters are 0.1 MB
_ACCESS_DENIED = 1045
_NO_SUCH_LOGIN = 2059
_NATIVE = "mysql_native_password"
_ENTRY_NOT_EXIST = 4018
_PROTOCOL_ERROR = 2027
_PID_DIGITS = 10
_CLIENT_ERRORS = range(2000, 3000)  # the connection was lost: the statement may have been executed
Opener = Callable[[], socket.socket]

if TYPE_CHECKING:
    _Base = pymysql.connections.Connection[pymysql.cursors.DictCursor]
else:
    _Base = pymysql.Connection  # generic in its type description only


class SqlError(Exception):
    """OBProxy rejected a statement, or the connection was lost. The text contains no secret."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (code {code})")
        self.code, self.text = code, text


class PartlySet(SqlError):
    """A parameter could not be set, and the former values of `remaining` could not be set again.

    `remaining` includes a parameter that may have been set when the connection was lost.
    """

    def __init__(self, code: int, text: str, remaining: "Sequence[Difference]") -> None:
        super().__init__(code, text)
        self.remaining = remaining


class Denied(SqlError):
    """No tried password is valid for root@proxysys. OBProxy reports the same for an address that it rejects."""


@contextmanager
def _translate_errors() -> Any:
    """Translate PyMySQL's errors to SqlError; a protocol error counts as a lost connection."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        code, text = (*error.args, "", "")[:2]
        kind = Denied if code == _ACCESS_DENIED else SqlError
        raise kind(code if isinstance(code, int) else 2013, str(text or code)) from error
    except OSError as error:
        raise SqlError(2013, f"the connection was lost: {error}") from error
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError, struct.error) as error:
        # PyMySQL raises these for invalid server messages, such as a request for a local file.
        raise SqlError(_PROTOCOL_ERROR, f"it does not speak the protocol ({type(error).__name__})") from None


@contextmanager
def _require_columns() -> Any:
    """Translate a column that a response lacks to SqlError."""
    try:
        yield
    except KeyError as error:
        raise SqlError(_PROTOCOL_ERROR, f"a response has no column {error}") from None


class _Connection(_Base):
    """Limits what an untrusted server can get: no password, and only a limited number of response bytes.

    PyMySQL sends the password itself to a server that requests mysql_clear_password or dialog, and encrypted with the
    server's key for two other methods. This class answers only the challenge of mysql_native_password.
    """

    _left = SESSION_LIMIT

    def _get_server_information(self) -> None:
        super()._get_server_information()  # type: ignore[misc]
        self._auth_plugin_name = _NATIVE

    def _process_auth(self, plugin_name: bytes, *arguments: Any) -> Any:
        if plugin_name != _NATIVE.encode():
            raise pymysql.err.OperationalError(
                _NO_SUCH_LOGIN, "it requests an authentication method that discloses the password"
            )
        return super()._process_auth(plugin_name, *arguments)  # type: ignore[misc]

    def _read_bytes(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            self._force_close()  # type: ignore[attr-defined]
            raise pymysql.err.OperationalError(2013, f"it has sent more than {SESSION_LIMIT} bytes")
        return bytes(super()._read_bytes(count))  # type: ignore[misc]


class Session:
    """One login as root@proxysys; a context manager that closes it."""

    def __init__(self, channel: socket.socket, password: str) -> None:
        self._connection = _Connection(
            user="root@proxysys",
            password=password.encode(),  # PyMySQL encodes text as latin-1, an ALTER as UTF-8
            read_timeout=STATEMENT_TIMEOUT,
            write_timeout=STATEMENT_TIMEOUT,
            cursorclass=pymysql.cursors.DictCursor,
            ssl_disabled=True,  # it is inside SSH; loading the system's certificates takes longer than the login
            defer_connect=True,
        )
        with _translate_errors():
            self._connection.connect(sock=channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.open:
            self._connection.close()

    def rows(self, statement: str) -> Sequence[Mapping[str, Any]]:
        """Return the rows of a statement by column name; raise SqlError."""
        with _translate_errors(), self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def ping(self) -> None:
        """Send COM_PING, the health check that OBProxy supports; raise SqlError."""
        with _translate_errors():
            self._connection.ping(reconnect=False)

    @_require_columns()
    def parameter(self, name: str) -> str | None:
        """Return a parameter's value, None when there is no such parameter.

        The pattern ends in %, because LIKE 'syslog_level' alone returns another table. The wildcard _ matches other
        names, so the name is compared again (docs/reference/obproxy.md trap 6).
        """
        found = self.rows(f"SHOW PROXYCONFIG LIKE '{name}%'")
        return next((str(row["value"] or "") for row in found if row.get("name") == name), None)

    def alter(self, name: str, value: str) -> None:
        """Set one parameter; raise SqlError, or ValueError for an invalid value."""
        self.rows(alter_statement(name, value))

    @_require_columns()
    def binary(self) -> str:
        """Return the text of SHOW PROXYINFO BINARY."""
        return "\n".join(str(row["info"]) for row in self.rows("SHOW PROXYINFO BINARY"))

    def pid(self) -> int | None:
        """Return the pid of the process behind this session as it reports it, None when it reports none."""
        pids = {str(row.get("pid")) for row in self.rows("SHOW PROXYSESSION")}
        if len(pids) != 1:
            return None
        pid = pids.pop()
        return int(pid) if pid.isdecimal() and len(pid) <= _PID_DIGITS else None

    @_require_columns()
    def clusters(self) -> list[str]:
        """Return the OceanBase clusters that it has reached; one started with a server list may report 4018."""
        try:
            return [str(row["cluster_name"]) for row in self.rows("SHOW PROXYCLUSTER")]
        except SqlError as error:
            if error.code == _ENTRY_NOT_EXIST:
                return []
            raise


def log_in(open_channel: Opener, login_candidates: Sequence[tuple[str, str]]) -> tuple[str, str, Session]:
    """Try pairs of name and password in order, each over a new connection.

    Return the valid name and password, and the session. Raise Denied when none is valid, SqlError when the port does
    not speak the protocol.
    """
    denied: Denied | None = None
    tried: set[str] = set()
    for name, password in login_candidates:
        if password in tried:
            continue
        tried.add(password)
        channel = open_channel()
        try:
            return name, password, Session(channel, password)
        except Denied as error:
            denied = error
        except SqlError:
            channel.close()
            raise
    names = ", ".join(name for name, _ in login_candidates)
    raise Denied(_ACCESS_DENIED, f"{denied.text if denied else 'no password'}; tried: {names}")


def other_process(session: Session, process: Mapping[str, Any], binary: str) -> str:
    """Return how the process behind a session differs from the discovered one, empty when it is the same.

    A session stays with one process. Across pid namespaces pids cannot be compared, only SHOW PROXYINFO BINARY.
    Raises SqlError.
    """
    pid, now = session.pid(), session.binary()
    if pid not in (None, process["pid"]) and "pid" not in process["namespaces"]:
        return f"pid {pid} answers there, pid {process['pid']} did when the host was discovered"
    if now != binary:
        return f"pid {process['pid']} is '{now[:200].strip()}', it was '{binary[:200].strip()}'"
    return ""


def apply_parameters(session: Session, differences: Sequence[Difference]) -> dict[str, str]:
    """Set parameters one by one and read each back; after a failure restore the former values of this call.

    Return the stored values. Raise PartlySet with the parameter and the values that could not be restored.
    """
    done: list[Difference] = []
    read: dict[str, str] = {}
    for difference in differences:
        try:
            session.alter(difference.name, difference.after)
            done.append(difference)
            stored = session.parameter(difference.name)
            if stored is None or not is_same_value(difference.name, stored, difference.after):
                raise SqlError(0, f"it reads back as {stored!r}")
            read[difference.name] = stored
        except (SqlError, ValueError) as error:
            if difference not in done and isinstance(error, SqlError) and error.code in _CLIENT_ERRORS:
                done.append(difference)
            remaining = _restore(session, done)
            text = f"{difference.name} = '{difference.after}' was rejected: {getattr(error, 'text', error)}"
            if remaining:
                text += f"; not restored: {', '.join(one.name for one in remaining)}"
            raise PartlySet(getattr(error, "code", 0), text, remaining) from error
    return read


def _restore(session: Session, done: Sequence[Difference]) -> list[Difference]:
    failed = []
    for difference in reversed(done):
        try:
            session.alter(difference.name, difference.before)
        except (SqlError, ValueError):
            failed.append(difference)
    return failed
