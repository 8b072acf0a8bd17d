"""The SHOW statements of root@proxysys.

See docs/reference/obproxy.md 4.6, docs/reference/obproxy-observed.md "SHOW PROXY...".
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from . import answers, text, wire
from .answers import Answer
from .parameters import Definition
from .proxy import Client, Proxy
from .store import COLUMNS

_CONFIG_COLUMNS = ("name", "value", "info", "need_reboot", "visible_level", "range", "config_level")
_LEVEL_COLUMNS = ("parent_mod", "sub_mod", "level", "usage")
# The first five of the real one's 72 log modules: all that was recorded.
_LOG_MODULES = (("CLIENT", "*"), ("CLOG", "*"), ("CLOG", "CSR"), ("COMMON", "*"), ("COMMON", "EXPR"))
_VARIABLES = (
    ("tx_isolation", "READ-COMMITTED"),
    ("system_time_zone", "+08:00"),
    ("time_zone", "+08:00"),
    ("character_set_server", "utf8mb4"),
    ("character_set_client", "utf8mb4"),
    ("interactive_timeout", "28800"),
    ("query_cache_size", "1048576"),
    ("character_set_results", "utf8mb4"),
    ("max_allowed_packet", "4194304"),
    ("sql_mode", "STRICT_ALL_TABLES"),
    ("net_buffer_length", "16384"),
    ("wait_timeout", "28800"),
    ("lower_case_table_names", "2"),
    ("query_cache_type", "OFF"),
    ("init_connect", ""),
    ("transaction_isolation", "READ"),
    ("character_set_connection", "utf8mb4"),
    ("net_write_timeout", "60"),
)
# Statistics whose names were recorded, of the real one's 219.
_STATISTICS = (
    ("async_flush_log_speed", "NULL"),
    ("dropped_debug_log_count", "NULL"),
    ("dropped_trace_log_count", "NULL"),
    ("dropped_info_log_count", "PERSISTENT"),
    ("dropped_warn_log_count", "PERSISTENT"),
    ("total_server_connect_time", "NULL"),
    ("broken_server_connections", "PERSISTENT"),
    ("server_connect_retries", "NULL"),
    ("server_connect_count", "NULL"),
    ("client_connection_abort_count", "NULL"),
)
_SESSION_VARIABLES = (
    ("autocommit", "1", "hot modified vars", ""),
    ("auto_increment_increment", "1", "cold modified vars", " && readonly"),
    ("auto_increment_offset", "1", "cold modified vars", " && readonly"),
    ("last_insert_id", "0", "last insert id modified vars", " && readonly"),
    ("interactive_timeout", "0", "cold modified vars", " && readonly"),
)

_catalog: dict[str, list[tuple[str, int]]] = {}


def show(proxy: Proxy, client: Client, statement: str) -> Answer:
    """Return the answer to a statement that begins with SHOW."""
    words = statement.split(None, 2)
    kind = words[1].lower() if len(words) > 1 else ""
    rest = words[2] if len(words) > 2 else ""
    if len(text.like_pattern(rest)) > text.VALUE_LIMIT:
        return answers.TOO_LONG
    if kind in _HANDLERS:
        return _HANDLERS[kind](proxy, client, rest)
    if kind in ("warnings", "errors", "trace", "count(*)"):
        return answers.Hangup()
    if kind.startswith("proxyinfo"):
        return answers.BAD_COMMAND
    return answers.text_rows(("Variable_name", "Value"), _VARIABLES)


def _config(proxy: Proxy, _client: Client, rest: str) -> Answer:
    words = rest.lower().split()
    pattern = text.like_pattern(rest)
    if words[:1] == ["all"]:
        rows = [row for row in proxy.store.rows() if text.matches(pattern, row[5])]
        return answers.text_rows(COLUMNS, rows)
    if pattern == "syslog_level":
        level = proxy.settings["syslog_level"].upper()
        return answers.text_rows(_LEVEL_COLUMNS, [(m, s, level, f"{m}.{s}:{level}") for m, s in _LOG_MODULES])
    changed_only, user_only = words[:1] == ["diff"], words[:2] == ["diff", "user"]
    width = proxy.release.config_columns
    shown: list[tuple[str | None, ...]] = []
    for definition, value in proxy.settings:
        if not text.matches(pattern, definition.name):
            continue
        if changed_only and (value == definition.default or definition.is_virtual):
            continue
        if user_only and definition.visible_level != "USER":
            continue
        shown.append(_config_row(definition, value)[:width])
    return answers.text_rows(_CONFIG_COLUMNS[:width], shown)


def _config_row(d: Definition, value: str) -> tuple[str | None, ...]:
    bounds = None if d.is_virtual else d.range
    return (d.name, value, d.info, "true" if d.need_reboot else "false", d.visible_level, bounds, d.config_level)


def _info(proxy: Proxy, _client: Client, rest: str) -> Answer:
    match rest.lower().split():
        case ["binary"]:
            return answers.text_rows(("name", "info"), [("binary info", proxy.release.binary_info)])
        case ["upgrade"]:
            argv = " ".join(_masked(argument) for argument in proxy.arguments)
            return answers.text_rows(("name", "info"), [("hot upgrade info", f'{{is_inited:true, argv:"{argv}"}}')])
        case ["idc"]:
            return _table("proxyinfo idc")
        case _:
            return answers.BAD_COMMAND


def _masked(argument: str) -> str:
    pairs = (pair.partition("=") for pair in argument.split(","))
    return ",".join(f"{name}=***" if "password" in name else f"{name}{sep}{value}" for name, sep, value in pairs)


def _cluster(proxy: Proxy, _client: Client, rest: str) -> Answer:
    if rest.lower().split() == ["idc"]:
        names = (proxy.cluster, "")
        return _table("proxycluster idc", [(name, 0, "", "", "") for name in names])
    reached = proxy.simulation.is_on("observer")
    if not rest and not reached:
        return answers.NO_ENTRY
    if not text.matches(text.like_pattern(rest), proxy.cluster):
        return _table("proxycluster")
    url = proxy.effective["obproxy_config_server_url"] if proxy.uses_config_server else "?version=2"
    roles = ("leader" if index == 0 else "follower" for index in range(len(proxy.cluster_addresses)))
    cluster_id = 1 if reached else 0
    pairs = zip(proxy.cluster_addresses, roles, strict=True)
    return _table("proxycluster", [(proxy.cluster, cluster_id, url, a, role, "FULL") for a, role in pairs])


def _net(_proxy: Proxy, client: Client, rest: str) -> Answer:
    if not rest.lower().startswith("connection"):
        return answers.BAD_COMMAND
    host, port = client.peer
    # One line for the asking connection, with the constants that were recorded for it.
    row: tuple[wire.Value, ...] = (0, client.id, 29, "accepted", host, port, "127.0.0.1", 2883, "127.0.0.1", 2883)
    row += (0, "any", 1, 9223372036854775807, 29, 0, 0, 0, 9, 0, 30, 29, 0, 0, "not closed")
    return _table("proxynet connection", [row])


def _statistics(_proxy: Proxy, _client: Client, rest: str) -> Answer:
    pattern = text.like_pattern(rest)
    return _table("proxystat", [(n, 0, kind) for n, kind in _STATISTICS if text.matches(pattern, n)])


def _processes(proxy: Proxy, _client: Client, _rest: str) -> Answer:
    return _table("processlist", [_session_row(proxy, client) for client in proxy.clients.values()])


def _session_row(proxy: Proxy, client: Client) -> tuple[wire.Value, ...]:
    host = f"{client.peer[0]}:{client.peer[1]}"
    counts = (0, 0, "MCS_ACTIVE_READER", proxy.pid, proxy.pid)
    return (client.id, client.tenant, client.user, host, "NULL", *counts)


def _sessions(proxy: Proxy, client: Client, rest: str) -> Answer:
    words = rest.lower().split()
    if not words:
        rows = []
        for other in proxy.clients.values():
            own = _session_row(proxy, other)
            rows.append((0, own[0], other.cluster, *own[1:], 0))
        return _table("proxysession", rows)
    numbers = [int(word) for word in words[1:] if word.isdecimal()]
    if numbers and numbers[0] not in proxy.clients:
        return answers.unknown_thread(numbers[0])
    client = proxy.clients[numbers[0]] if numbers else client
    if words[0] == "attribute":
        pairs = [("proxy_sessid", "0"), ("cs_id", str(client.id)), ("cluster", client.cluster)]
        pairs += [("tenant", client.tenant), ("user", client.user)]
        return _table("proxysession attribute", [(name, value, "cs common") for name, value in pairs])
    if words[0] == "variables":
        flags = " && global_scope && session_scope"
        rows = [(n, value, "sys var", kind, flags + more) for n, value, kind, more in _SESSION_VARIABLES]
        return _table("proxysession variables", rows)
    return answers.BAD_COMMAND


def _memory(_proxy: Proxy, _client: Client, rest: str) -> Answer:
    return _table("proxymemory objpool") if rest.lower() == "objpool" else answers.BAD_COMMAND


def _audit(_proxy: Proxy, _client: Client, _rest: str) -> Answer:
    return answers.NOT_INITIALIZED


def _empty(name: str) -> Callable[[Proxy, Client, str], Answer]:
    return lambda _proxy, _client, _rest: _table(name)


def _table(name: str, rows: Sequence[Sequence[wire.Value]] = ()) -> answers.Rows:
    """Return a result set with the recorded columns of data/catalog.json."""
    if not _catalog:
        path = Path(__file__).parent / "data" / "catalog.json"
        _catalog.update(json.loads(path.read_text(encoding="utf-8")))
    return answers.Rows(_catalog[name], rows)


_HANDLERS: dict[str, Callable[[Proxy, Client, str], Answer]] = {
    "proxyconfig": _config,
    "proxyinfo": _info,
    "proxycluster": _cluster,
    "proxynet": _net,
    "proxystat": _statistics,
    "processlist": _processes,
    "proxysession": _sessions,
    "proxymemory": _memory,
    "sqlaudit": _audit,
    **{name: _empty(name) for name in ("proxyresource", "proxyvip", "proxycongestion", "proxysm")},
    **{name: _empty(name) for name in ("warnlog", "globalsession")},
}
