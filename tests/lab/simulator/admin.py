"""Statements of root@proxysys and inspector@proxysys with their results (docs/reference/obproxy.md 4.5, 4.6)."""

from . import answers, text, wire
from .alter import alter
from .answers import Answer
from .proxy import Client, Proxy
from .show import show
from .store import COLUMNS

COM_QUIT, COM_INIT_DB, COM_QUERY, COM_PROCESS_KILL, COM_PING = 0x01, 0x02, 0x03, 0x0C, 0x0E
# COM_FIELD_LIST, REFRESH, STATISTICS, PROCESS_INFO, DEBUG and similar commands get an error message ...
_REFUSED = {0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0D}
# ... CHANGE_USER, the prepared statements, SET_OPTION and RESET_CONNECTION by hanging up.
_HUNG_UP = {0x00, COM_INIT_DB, *range(0x0F, 0x20)}

_ONE_VALUE: dict[str, tuple[int, wire.Value]] = {
    "@@session.auto_increment_increment": (wire.LONGLONG, 1),
    "@@tx_read_only": (wire.LONGLONG, 0),
    "@@session.tx_read_only": (wire.LONGLONG, 0),
    "@@session.tx_isolation": (wire.VARCHAR, "READ-COMMITTED"),
}
_REFUSED_SETS = ("charset", "character", "password", "default")
_HARMLESS = ("begin", "start transaction", "commit", "rollback", "ping proxy")


def command(proxy: Proxy, client: Client, code: int, argument: bytes) -> Answer:
    """Return the answer to one command packet, except COM_QUIT."""
    if code == COM_QUERY:
        return _query(proxy, client, argument)
    if code == COM_PING:
        return answers.Ok()
    if code == COM_PROCESS_KILL:
        return _kill(proxy, int.from_bytes(argument[:4], "little"))
    if code in _REFUSED:
        return answers.BAD_COMMAND
    return answers.Hangup() if code in _HUNG_UP else answers.NOT_SUPPORTED


def _query(proxy: Proxy, client: Client, argument: bytes) -> Answer:
    if not argument:
        return answers.Hangup()
    statement = text.statement(argument.decode("utf-8", "replace"))
    normal = " ".join(statement.lower().split())
    if client.user == "inspector":
        return answers.Ok() if normal == "ping proxy" else answers.BAD_COMMAND
    if text.is_several(statement):
        return answers.BAD_COMMAND
    if normal in _HARMLESS:
        return answers.Ok()
    return _by_verb(proxy, client, statement)


def _by_verb(proxy: Proxy, client: Client, statement: str) -> Answer:
    match statement.lower().split(None, 1)[:1]:
        case ["show"]:
            return show(proxy, client, statement)
        case ["alter"]:
            return alter(proxy, statement)
        case ["select"]:
            return _select(proxy, statement)
        case ["explain"]:
            return answers.NOT_SUPPORTED
        case ["set"]:
            return _set(statement)
        case ["kill"]:
            return _kill_statement(proxy, statement)
        case _:
            return answers.BAD_COMMAND


def _set(statement: str) -> Answer:
    """Everything is accepted and ignored, but for a few kinds that the real one's scanner knows apart."""
    words = statement.lower().split()
    return answers.BAD_COMMAND if len(words) < 2 or words[1] in _REFUSED_SETS else answers.Ok()


def _select(proxy: Proxy, statement: str) -> Answer:
    expression = statement[len("select") :].strip()
    lowered = expression.lower()
    if lowered == "proxy_version()":
        return answers.text_rows((expression,), [(proxy.release.version,)])
    if lowered == "proxy_status()":
        return answers.text_rows((expression,), [("ACTIVE",)])
    if lowered in _ONE_VALUE:
        kind, value = _ONE_VALUE[lowered]
        return answers.Rows([(expression, kind)], [(value,)])
    source = lowered.partition(" from ")[2].split()
    if source == ["proxy_config"] and lowered.startswith("*"):
        return answers.text_rows(COLUMNS, proxy.store.rows())
    return answers.INTERNAL_ERROR if source and source[0] != "dual" else answers.NOT_SUPPORTED


def _kill_statement(proxy: Proxy, statement: str) -> Answer:
    words = statement.lower().split()[1:]
    if words and words[0] in ("proxysession", "connection", "query"):
        words = words[1:]
    return _kill(proxy, int(words[0])) if words and words[0].isdecimal() else answers.BAD_COMMAND


def _kill(proxy: Proxy, thread_id: int) -> Answer:
    """Killing another session is acknowledged and without effect, as was observed."""
    return answers.Ok() if thread_id in proxy.clients else answers.unknown_thread(thread_id)
