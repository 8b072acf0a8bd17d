"""OBProxy's admin SQL as root@proxysys, by PyMySQL over a socket that somebody else opened.

Only what OBProxy answers is sent: text protocol, COM_PING, no SELECT 1, no SHOW WARNINGS, no USE, no prepared
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

from .parameter_values import Difference, alter_statement, same

ANSWER_SECONDS = 30  # OBProxy's own limit for internal commands (docs/reference/obproxy.md 4.6)
ANSWERS_LIMIT = 32 * 1024 * 1024  # bytes of all answers in one session; three hundred parameters are 0.1 MB
_ACCESS_DENIED = 1045
_NO_SUCH_LOGIN = 2059
_NATIVE = "mysql_native_password"
_ENTRY_NOT_EXIST = 4018
Opener = Callable[[], socket.socket]

if TYPE_CHECKING:
    _Base = pymysql.connections.Connection[pymysql.cursors.DictCursor]
else:
    _Base = pymysql.Connection  # generic in its type description only


class SqlError(Exception):
    """OBProxy refused a statement, or the connection broke; the text is for people and holds no secret."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (code {code})")
        self.code, self.text = code, text


class Denied(SqlError):
    """No password that was tried opens root@proxysys. OBProxy says the same when it refuses the address."""


@contextmanager
def _translated() -> Any:
    """PyMySQL's errors as ours; a broken protocol counts as a lost connection."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        code, text = (*error.args, "", "")[:2]
        kind = Denied if code == _ACCESS_DENIED else SqlError
        raise kind(code if isinstance(code, int) else 2013, str(text or code)) from error
    except OSError as error:
        raise SqlError(2013, f"the connection broke: {error}") from error
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError, struct.error) as error:
        # What PyMySQL raises where a server says what none would, such as a wish for a file of ours.
        raise SqlError(2027, f"it does not speak the protocol ({type(error).__name__})") from None


class _Connection(_Base):
    """One whose other end may be anybody: it gets no password, but an answer to its challenge, and has only so much to
    say. PyMySQL would send the password itself to a server that asks for it by mysql_clear_password or dialog, or
    encrypted with a key of the server's by two others.
    """

    _left = ANSWERS_LIMIT

    def _get_server_information(self) -> None:
        super()._get_server_information()  # type: ignore[misc]
        self._auth_plugin_name = _NATIVE

    def _process_auth(self, plugin_name: bytes, *arguments: Any) -> Any:
        if plugin_name != _NATIVE.encode():
            raise pymysql.err.OperationalError(_NO_SUCH_LOGIN, "it wants a login that would give the password away")
        return super()._process_auth(plugin_name, *arguments)  # type: ignore[misc]

    def _read_bytes(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            self._force_close()  # type: ignore[attr-defined]
            raise pymysql.err.OperationalError(2013, f"it has answered more than {ANSWERS_LIMIT} bytes")
        return bytes(super()._read_bytes(count))  # type: ignore[misc]


class Session:
    """One login as root@proxysys; a context manager that closes it."""

    def __init__(self, channel: socket.socket, password: str) -> None:
        self._connection = _Connection(
            user="root@proxysys",
            password=password.encode(),  # PyMySQL would take text for latin-1; an ALTER carries it in UTF-8
            charset="utf8mb4",
            read_timeout=ANSWER_SECONDS,
            write_timeout=ANSWER_SECONDS,
            cursorclass=pymysql.cursors.DictCursor,
            ssl_disabled=True,  # it travels inside ssh; reading the system's certificates costs more than the login
            defer_connect=True,
        )
        channel.settimeout(ANSWER_SECONDS)
        with _translated():
            self._connection.connect(sock=channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.open:
            with _ignored_at_close():
                self._connection.close()

    def rows(self, statement: str) -> Sequence[Mapping[str, Any]]:
        """The rows of a statement by column name; raises SqlError."""
        with _translated(), self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def ping(self) -> None:
        """COM_PING: the health check that OBProxy knows; raises SqlError."""
        with _translated():
            self._connection.ping(reconnect=False)

    def parameter(self, name: str) -> str | None:
        """One parameter's value, None when there is no such parameter.

        The pattern ends in % because LIKE 'syslog_level' alone answers with another table, and _ is a wildcard, so
        the name is compared exactly afterwards (docs/reference/obproxy.md trap 6).
        """
        found = self.rows(f"SHOW PROXYCONFIG LIKE '{name}%'")
        return next((str(row["value"] or "") for row in found if row.get("name") == name), None)

    def alter(self, name: str, value: str) -> None:
        """Set one parameter; raises SqlError, or ValueError for a value that cannot be sent."""
        self.rows(alter_statement(name, value))

    def binary(self) -> str:
        """What SHOW PROXYINFO BINARY says; the bare SHOW PROXYINFO is an error."""
        return "\n".join(str(row["info"]) for row in self.rows("SHOW PROXYINFO BINARY"))

    def pid(self) -> int | None:
        """The pid of the process that answers in this session, as that process knows it; None when it tells none."""
        told = {str(row.get("pid")) for row in self.rows("SHOW PROXYSESSION")}
        return int(told.pop()) if len(told) == 1 and min(told).isdecimal() else None

    def clusters(self) -> list[str]:
        """The OceanBase clusters it has reached; an OBProxy started by address list may answer 4018 instead."""
        try:
            return [str(row["cluster_name"]) for row in self.rows("SHOW PROXYCLUSTER")]
        except SqlError as error:
            if error.code == _ENTRY_NOT_EXIST:
                return []
            raise


@contextmanager
def _ignored_at_close() -> Any:
    """A connection that is gone already is closed."""
    try:
        yield
    except (pymysql.err.MySQLError, OSError):
        return


def log_in(open_channel: Opener, candidates: Sequence[tuple[str, str]]) -> tuple[str, str, Session]:
    """Try (name, password) candidates in order, each over a connection of its own: OBProxy closes a refused one.

    Returns the name and password that worked, and the session. Raises Denied when none did, SqlError when the port
    does not speak the protocol.
    """
    refused: Denied | None = None
    tried: set[str] = set()
    for name, password in candidates:
        if password in tried:
            continue
        tried.add(password)
        channel = open_channel()
        try:
            return name, password, Session(channel, password)
        except Denied as error:
            refused = error
        except SqlError:
            channel.close()
            raise
    names = ", ".join(name for name, _ in candidates)
    raise Denied(_ACCESS_DENIED, f"{refused.text if refused else 'no password'}; tried: {names}")


def why_another(session: Session, process: Mapping[str, Any], binary: str) -> str:
    """Say in what a session's other end is not a discovered process with this SHOW PROXYINFO BINARY; empty when it is.

    A session stays with one process, so whatever it reads back is that process's. A pid tells nothing across pid
    namespaces: then the binary alone is compared. Raises SqlError.
    """
    pid, now = session.pid(), session.binary()
    if pid not in (None, process["pid"]) and "pid" not in process["namespaces"]:
        return f"pid {pid} answers there, pid {process['pid']} did when the host was discovered"
    if now != binary:
        return f"pid {process['pid']} is '{now[:200].strip()}', it was '{binary[:200].strip()}'"
    return ""


def apply(session: Session, differences: Sequence[Difference]) -> dict[str, str]:
    """Set parameters one by one and read each back; on the first failure put this run's former values back.

    Returns the values as OBProxy spells them. Raises SqlError that names the parameter, and says what could not be put
    back.
    """
    done: list[Difference] = []
    read: dict[str, str] = {}
    for difference in differences:
        try:
            session.alter(difference.name, difference.after)
            done.append(difference)
            stored = session.parameter(difference.name)
            if stored is None or not same(difference.name, stored, difference.after):
                raise SqlError(0, f"it reads back as {stored!r}")
            read[difference.name] = stored
        except (SqlError, ValueError) as error:
            not_restored = _put_back(session, done)
            # SqlError adds its code to the text by itself.
            text = f"{difference.name} = '{difference.after}' was refused: {getattr(error, 'text', error)}"
            if not_restored:
                text += f"; not put back: {', '.join(not_restored)}"
            raise SqlError(getattr(error, "code", 0), text) from error
    return read


def _put_back(session: Session, done: Sequence[Difference]) -> list[str]:
    failed = []
    for difference in reversed(done):
        try:
            session.alter(difference.name, difference.before)
        except (SqlError, ValueError):
            failed.append(difference.name)
    return failed
