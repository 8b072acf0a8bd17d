"""The simulated observer behind the proxy: just enough SQL for an ordinary client to hold a connection and use it."""

import re

from . import answers, text, wire
from .admin import COM_INIT_DB, COM_PING, COM_QUERY
from .answers import Answer
from .proxy import Client, Proxy

_SLEEP = re.compile(r"select\s+sleep\s*\(\s*([0-9.]+)\s*\)", re.IGNORECASE)
_NUMBER = re.compile(r"select\s+(-?\d+)", re.IGNORECASE)
_SYNTAX_ERROR = answers.Error(1064, "42000", "The simulated observer does not know this statement")
_ACCEPTED = ("set", "begin", "start", "commit", "rollback", "use")
_LONGEST_SLEEP = 3600.0


def command(proxy: Proxy, client: Client, code: int, argument: bytes) -> tuple[Answer, float]:
    """Return the answer, and the seconds until it comes. Counts the request in the metrics."""
    if code in (COM_PING, COM_INIT_DB):
        return answers.Ok(), 0.0
    if code != COM_QUERY:
        return answers.NOT_SUPPORTED, 0.0
    statement = text.statement(argument.decode("utf-8", "replace"))
    answer, delay = _query(proxy, client, statement)
    verb = statement.split(None, 1)[0].upper() if statement else "UNKNOWN"
    success = not isinstance(answer, answers.Error)
    proxy.metrics.request(client.cluster, client.tenant, verb, success=success)
    return answer, delay


def _query(proxy: Proxy, client: Client, statement: str) -> tuple[Answer, float]:
    lowered = " ".join(statement.lower().split())
    if lowered.split(" ", 1)[0] in _ACCEPTED:
        return answers.Ok(), 0.0
    if match := _SLEEP.fullmatch(statement):
        return answers.Rows([(_expression(statement), wire.LONG)], [(0,)]), min(float(match[1]), _LONGEST_SLEEP)
    values: dict[str, wire.Value] = {
        "select connection_id()": client.id,
        "select version()": proxy.settings["mysql_version"],
        "select @@version_comment limit 1": "OceanBase (simulated)",
        "select user()": f"{client.user}@{client.peer[0]}",
        "select database()": None,
    }
    if match := _NUMBER.fullmatch(lowered):
        values[lowered] = int(match[1])
    if lowered not in values:
        return _SYNTAX_ERROR, 0.0
    value = values[lowered]
    kind = wire.LONGLONG if isinstance(value, int) else wire.VARCHAR
    return answers.Rows([(_expression(statement), kind)], [(value,)]), 0.0


def _expression(statement: str) -> str:
    return statement.split(None, 1)[1]
