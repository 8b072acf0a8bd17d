"""Responses to statements, before they become bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import wire


@dataclass(frozen=True)
class Ok:
    """An OK packet."""


@dataclass(frozen=True)
class Hangup:
    """The connection is closed without a packet."""


@dataclass(frozen=True)
class Error:
    code: int
    sqlstate: str
    message: str


@dataclass(frozen=True)
class Rows:
    """A result set; columns are (name, type byte)."""

    columns: Sequence[tuple[str, int]]
    rows: Sequence[Sequence[wire.Value]]


Answer = Ok | Hangup | Error | Rows

# Codes, states and texts: docs/reference/obproxy.md 4.5, 4.6; docs/reference/obproxy-observed.md.
BAD_COMMAND = Error(5010, "21000", "Unknown operator, bad internal cmd")
NOT_SUPPORTED = Error(1235, "0A000", "Not supported feature or function")
INTERNAL_ERROR = Error(4016, "HY000", "Internal error")
NO_ENTRY = Error(4018, "HY000", "Entry not exist")
INVALID_CONFIG = Error(4147, "HY000", "Invalid config")
UNKNOWN_CONFIG = Error(5099, "42000", "System config unknown")
TOO_LONG = Error(8007, "HY000", "internal cmd value is too long")
NO_CLUSTER = Error(4669, "HY000", "cluster not exist")
NOT_INITIALIZED = Error(4006, "HY000", "The object is not initialized")
# The real one has no entry for this error in its table of codes, so 0 goes over the wire.
PROXY_ID_TOO_LARGE = Error(
    0, "HY000", "When reset client_session_id_version to v1, proxy_id must be set to less than 255"
)


def unknown_thread(thread_id: int) -> Error:
    return Error(1094, "HY000", f"Unknown thread id: {thread_id}")


def access_denied(user: str, address: str, *, using_password: bool) -> Error:
    used = "YES" if using_password else "NO"
    return Error(1045, "42000", f"Access denied for user '{user}'@'{address}' (using password: {used})")


def text_rows(names: Sequence[str], rows: Sequence[Sequence[wire.Value]]) -> Rows:
    """Return a result set of VARCHAR columns, as nearly all of OBProxy's are."""
    return Rows([(name, wire.VARCHAR) for name in names], rows)


def encode(answer: Ok | Error | Rows, *, status: int = 0) -> bytes:
    """Return the packets of an answer to a command (whose own sequence number is 0)."""
    if isinstance(answer, Error):
        return wire.error(1, answer.code, answer.sqlstate, answer.message)
    if isinstance(answer, Rows):
        return wire.result_set(1, answer.columns, answer.rows, status=status)
    return wire.ok(1, status=status)
