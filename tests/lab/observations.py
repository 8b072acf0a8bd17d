"""Responses of a real OBProxy 4.3.1 (observed/obproxy-4.3.1.json), and how each entry is compared.

An entry has setup (a key of setups), client ("" = PyMySQL), user and sql. Its response has columns, types, rows (often
only the first five), row_count, error (code, sqlstate, message), connection_usable_after and result.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PASSWORD = "Proxy#Pass1"
PASSWORD_SHA1 = "16f205f4d3a5e8520fd3152124cb96990d1a5098"
VARCHAR = 15

_LONG = re.compile(r"(.*)\.\.\.\((\d+) bytes\)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Entry:
    setup: str
    sql: str = ""
    client: str = ""
    user: str = "root@proxysys"
    columns: list[str] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    all_rows: list[list[Any]] = field(default_factory=list)
    row_count: int | None = None
    error: tuple[int | None, str | None, str] | None = None
    connection_usable_after: bool | None = None
    result: Any = None
    exit_code: int | None = None
    sent: Any = None
    note: str = ""

    @property
    def statement(self) -> str:
        """The statement in full: long ones were recorded as their beginning and their length."""
        match = _LONG.fullmatch(self.sql)
        if not match:
            return self.sql
        beginning, length = match[1], int(match[2])
        end = "*/" if "/*" in beginning else "'"
        return beginning + beginning[-1] * (length - len(beginning) - len(end)) + end

    @property
    def column_types(self) -> list[int]:
        return self.types or [VARCHAR] * len(self.columns)


@cache
def entries() -> tuple[Entry, ...]:
    path = Path(__file__).parent / "observed" / "obproxy-4.3.1.json"
    return tuple(Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["entries"])


# Logins: what was typed as the password, by the entry's label.
LOGIN_PASSWORDS = {
    "<login: right password>": PASSWORD,
    "<login: empty password>": "",
    "<login: sha1 hex as password>": PASSWORD_SHA1,
    "<login: inspector, password inspector>": "inspector",
    "<login: inspector, empty>": "",
    "<login: right password, charset latin1>": PASSWORD,
    "<login: right password, init_command=set names gbk>": PASSWORD,
    "<login: old password after change>": PASSWORD,
    "<login: new password after change>": "New#Pass2",
    "<login: empty after change>": "",
    "<login: some password while configured empty>": PASSWORD,
    "<login: empty while configured empty>": "",
    "<login: plain password after ALTER with its hex>": PASSWORD,
    "<login: the hex string itself as the password>": PASSWORD_SHA1,
    "<login: restored>": PASSWORD,
    "<login: inspector with Insp#1>": "Insp#1",
    "<login: inspector with inspector>": "inspector",
    "<login: while client_max_connections=1 and one connection open>": PASSWORD,
    "<login: login with 'Proxy#Pass1'>": PASSWORD,
    "<login: empty>": "",
    "<login: some password>": "some",
    "<login: proxysys>": "proxysys",
    "<login: proxysys (documented default)>": "proxysys",
    # Of names that lead to no observer, the password does not matter.
    "<login: mixed case user>": PASSWORD,
    "<login: mixed case tenant>": PASSWORD,
    "<login: proxyro@proxysys>": PASSWORD,
    "<login: plain user proxysys>": PASSWORD,
    "<login: plain root>": PASSWORD,
    "<login: root@sys>": PASSWORD,
    "<login: root@sys#nosuch>": PASSWORD,
    "<login: root@tenant1#test>": PASSWORD,
    "<login: root@ (empty tenant)>": PASSWORD,
    "<login: @proxysys>": PASSWORD,
    "<login: make some user traffic>": PASSWORD,
}

# Commands that are not COM_QUERY: code and argument, by the entry's label.
COMMANDS = {
    "COM_PING": (0x0E, b""),
    "COM_INIT_DB test": (0x02, b"test"),
    "COM_PROCESS_KILL 1": (0x0C, (1).to_bytes(4, "little")),
    "COM_SET_OPTION(0)": (0x1B, b"\0\0"),
    "COM_STATISTICS": (0x09, b""),
    "COM_DEBUG": (0x0D, b""),
    "COM_RESET_CONNECTION": (0x1F, b""),
    "COM_STMT_PREPARE select 1": (0x16, b"select 1"),
    "COM_STMT_PREPARE show proxyconfig": (0x16, b"show proxyconfig"),
    "COM_PROCESS_INFO": (0x0A, b""),
    "COM_FIELD_LIST t": (0x04, b"t\0"),
    "COM_REFRESH": (0x07, b"\x01"),
    "unknown command 0x63": (0x63, b""),
    "COM_CHANGE_USER": (0x11, b"root@proxysys\0\0\0"),
    "COM_QUIT": (0x01, b""),
}

# Statements whose rows describe the recorded instance or its build; columns and types are compared.
INSTANCE_ROWS = {
    "show proxynet connection": "addresses, ports and times of the recording connection",
    "show proxynet connection 0": "addresses, ports and times of the recording connection",
    "show processlist": "ids, ports and pids of the recorded instance",
    "show proxysession": "ids, ports and pids of the recorded instance",
    "show proxyinfo binary": "build number, revision and build time of the recorded build",
    "  show   proxyinfo   binary  ;": "build number, revision and build time of the recorded build",
    "/* hint */ show proxyinfo binary": "build number, revision and build time of the recorded build",
    "show proxyinfo upgrade": "internal structures and addresses of the recorded instance",
    "show proxystat refresh": "the log's speed at that moment",
    "show proxysession attribute": "ids of the recorded connection; only the first five of 22 rows were recorded",
    "show proxymemory objpool": "memory of the recorded instance",
}
# Only the first rows were recorded, and the simulator has just these: the number of rows is not compared.
RECORDED_IN_PART = {
    "show proxyconfig like 'syslog_level'": "five of 72 log modules",
    "show proxystat": "five of 219 statistics",
    "show proxystat like '%conn%'": "five of 18 statistics",
    "show proxysession variables all": "five of 15 variables",
}
# Entries of one client or one machine, which do not depend on the proxy.
SKIPPED = {
    "<connection ids of consecutive logins>": "the numbers follow the original's threads; here they are just unique",
    "<thread ids>": "numbers of the recorded instance",
    "kill 1376276": "the id of a recorded connection: test_lifecycle kills one of its own",
    "kill proxysession 1310745": "the id of a recorded connection: test_lifecycle kills one of its own",
    "<is the killed connection still usable>": "of a recorded connection: test_lifecycle looks at its own",
    "<seconds until the launcher returned / until a login succeeded, 5 runs>": "times of that machine",
    "alter proxyconfig set observer_sys_password = %s": "a placeholder that the recording client filled in",
    "begin()/commit()/rollback() methods": "PyMySQL's methods send begin, commit and rollback, which are replayed",
}
# Entries about processes and files: the test of test_lifecycle that shows the same.
LIFECYCLE = {
    "<first start as daemon, empty directory: ./bin/obproxy --listen_port 2883 --prometheus_listen_port 2884 "
    "--rs_list 127.0.0.1:2881 --cluster_name test -n testapp -o obproxy_sys_password=SHA1HEX,...>": "first_start",
    "<first start with no argument at all in an empty directory>": "start_that_fails",
    "<first start with only -p PORT>": "start_that_fails",
    "<first start with -p and -r only>": "start_with_little",
    "<-p 80 | -p abc | -p 70000 | unknown flag>": "bad_option",
    "<-o with unknown key or without =>": "start_with_little",
    "<-o proxy_mem_limited=1K (out of range)>": "start_that_fails",
    "<-o with literal quotes: syslog_level='INFO' (quotes not removed by a shell)>": "start_that_fails",
    "<-r garbage | -r 127.0.0.1:2882:2881>": "start_that_fails",
    "<rootservice_list and rootservice_cluster_name in -o instead of -r/-c>": "start_with_little",
    "<obproxy_config_server_url to a closed port>": "start_with_little",
    "<-o local_bound_ip=127.0.0.1>": "local_bound_ip",
    "<-o enable_obproxy_rpc_service=false>": "rpc_service_off",
    "<host with only 127.0.0.1/::1 addresses>": "no_address",
    "<working directory not writable>": "unwritable_home",
    "<second start in the same directory while running, same port>": "second_start",
    "<start with -N on a busy sql port, or on a busy rpc port (2885)>": "busy_port",
    "<start on a busy prometheus port>": "busy_exporter_port",
    "<-N then SIGTERM>": "signal_in_the_foreground",
    "<-N then SIGINT>": "signal_in_the_foreground",
    "<-N then SIGKILL>": "signal_in_the_foreground",
    "<-V, -h, -R>": "printing",
    "<SIGHUP>": "sighup",
    "<SIGKILL then ./bin/obproxy without arguments>": "kill_keeps_the_configuration",
    "<restart with -o value other than the stored one>": "command_line_wins",
    "<alter proxyconfig set listen_port=4883 then restart without arguments>": "need_reboot",
    "<alter proxyconfig set proxy_local_cmd='2'>": "hot_restart",
    "<etc/obproxy_config.bin>": "hot_restart",
    "<timing after proxy_local_cmd='1' (exit), one idle proxysys connection open; seconds until new connections "
    "refused / idle connection closed / process gone>": "exit_by_command",
    "<timing after SIGTERM>": "sigterm",
}


def comparison(entry: Entry) -> str:
    """Return how the entry is compared: handshake, login, command, statement, lifecycle:TEST or skipped:REASON.

    Raises KeyError for a label that no table knows.
    """
    if entry.sql == "<handshake greeting>":
        return "handshake"
    if entry.sql in LIFECYCLE:
        return f"lifecycle:{LIFECYCLE[entry.sql]}"
    if entry.client not in ("", "raw socket"):
        return f"skipped:what {entry.client} sends and shows; the statements themselves are replayed"
    if entry.sql in SKIPPED:
        return f"skipped:{SKIPPED[entry.sql]}"
    if entry.sql.startswith("<"):
        return f"login:{LOGIN_PASSWORDS[entry.sql]}"
    if entry.sql.startswith(("COM_", "unknown command")):
        return f"command:{COMMANDS[entry.sql][0]}"
    return "statement"
