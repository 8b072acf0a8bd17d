"""Part of host programs: finds processes by name, and the process of a listening socket.

Data that cannot be read is reported as unreadable, never as absent.
"""

# ruff: noqa: PTH115, PTH118, PTH119, PTH123, PTH208

import os
import pwd
import re

try:
    from .commands import SHELLS
    from .shown_text import first_words
    from .sockets import ABSENT, address_of, socket_inodes
except ImportError:  # on the host all parts are one text
    pass

DEFAULT_EXPORTER_PORT = 2884
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT_LIMIT = 2000
_SQL_PORT = re.compile(r"(?:(?:^|\s)-p\s*|(?<![a-z_])listen_port[= ])(\d{1,5})(?!\d)")
_EXPORTER_PORT = re.compile(r"(?:prometheus_listen_port[= ]|(?:^|\s)-l\s*)(\d{1,5})(?!\d)")
_APP_NAME = re.compile(r"(?:^|\s)(?:-n\s*|--appname[= ])(\S{1,200})(?!\S)")
MESSAGE_LIMIT = 100  # characters of a command line in a message
FILE_LIMIT = 64 * 1024
ENVIRONMENT_LIMIT = 4 * 1024 * 1024  # the kernel's usual limit is 2 MiB
DELETED = " (deleted)"
# Equal to module_utils/masking.py, which is not available on the host; a test compares them.
SENSITIVE_WORDS = r"password|passwd|passphrase|pwd|secret|token|credential|(?:private|access|api)_key|_pass\b"
_ITEM_NAME = re.compile(r"(?<![^=,\s])[^=,\s]+=")
_SENSITIVE = re.compile(SENSITIVE_WORDS, re.IGNORECASE)
_USER_IN_URL = re.compile(r"(?<=://)[^\s/?#]*@")


def mask(argument: str) -> str:
    """Return an argument of a command line with masked secrets, up to a comma: "a=1,obproxy_sys_password=***,b=2".

    The user and password of a URL are masked too. The time is linear, because any user can start such a process.
    """
    shown, end = "", 0
    for name in _ITEM_NAME.finditer(argument):
        if name.start() >= end and _SENSITIVE.search(name.group()):
            shown += argument[end : name.end()] + "***"
            comma = argument.find(",", name.end())
            end = comma if comma >= 0 else len(argument)
    return _USER_IN_URL.sub("***@", shown + argument[end:])


def read(path: str, limit: int = FILE_LIMIT) -> str:
    """Return the beginning of a file as text, empty when it cannot be read (a process may have ended)."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def link(path: str) -> "tuple[str, str]":
    """Return the target of a symbolic link, and the error when it exists and cannot be read."""
    try:
        return os.readlink(path), ""
    except OSError as error:
        return "", "" if error.errno in ABSENT else str(error.strerror)


def user_name(uid: int) -> str:
    """Return a user's name, the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def owner_of(pid: int) -> str:
    """Return the user whose rights a process has, root when one of its ids is root's; empty when it is gone."""
    found = re.search(r"^Uid:(.*)$", read(f"/proc/{pid}/status"), re.MULTILINE)
    uids = [int(word) for word in found.group(1).split()] if found else []
    return user_name(0 if 0 in uids else uids[1]) if uids else ""


def listening_sockets(tables: "list[str]") -> "dict[int, dict[str, tuple[int, str]]]":
    """Return port → {socket inode: (uid, address)} of the listening TCP sockets in texts of /proc/net/tcp and tcp6."""
    ports = {}  # type: dict[int, dict[str, tuple[int, str]]]
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split(None, 10)
            if len(fields) >= 10 and fields[3] == "0A":
                address, _, port = fields[1].rpartition(":")
                ports.setdefault(int(port, 16), {})[fields[9]] = (int(fields[7]), address_of(address))
    return ports


def matching_keyword(comm: str, exe: str, arguments: "list[str]", keywords: "list[str]") -> "str | None":
    """Return the keyword that matches a process: its comm, its executable, or the script of a shell.

    Argument strings are not searched: `tail -f obproxy.log` is no OBProxy (docs/reference/obproxy.md traps 11 and 12).
    """
    names = {comm, os.path.basename(exe)}
    if comm in SHELLS and len(arguments) > 1:
        names.add(os.path.basename(arguments[1]))
    return next((keyword for keyword in keywords if keyword in names), None)


def strip_deleted_mark(path: str) -> "tuple[str, bool]":
    """Return a path of /proc without the mark of a removed file, and whether it had one."""
    return (path[: -len(DELETED)], True) if path.endswith(DELETED) else (path, False)


def process(pid: int, keywords: "list[str]") -> "dict[str, Any] | None":
    """Return the data of a process in /proc; None when no keyword matches or it has ended."""
    base = f"/proc/{pid}/"
    comm = read(base + "comm").strip()
    target, problem = link(base + "exe")
    exe, exe_deleted = strip_deleted_mark(target)
    arguments = read(base + "cmdline").rstrip("\0").split("\0") if exe or comm in keywords else []
    keyword = matching_keyword(comm, exe, arguments, keywords)
    stat = read(base + "stat").rpartition(")")[2].split() if keyword else []
    owner = owner_of(pid) if len(stat) >= 20 else ""
    if not owner:
        return None
    cwd, cwd_problem = link(base + "cwd")
    shown = [mask(argument) for argument in arguments]
    environment = read(base + "environ", ENVIRONMENT_LIMIT).split("\0")
    root = next((item[len("OBPROXY_ROOT=") :] for item in environment if item.startswith("OBPROXY_ROOT=")), "")
    home, home_deleted = strip_deleted_mark(root or cwd)
    return {
        "pid": pid,
        "ppid": int(stat[1]),
        "defunct": stat[0] in "ZX",
        "started": int(stat[19]),
        "keyword": keyword,
        "comm": comm,
        "exe": exe,
        "exe_deleted": exe_deleted,
        "home": home,
        "home_deleted": home_deleted,
        "library_path": any(item.startswith("LD_LIBRARY_PATH=") for item in environment),
        "owner": owner,
        "cmdline": first_words(shown, TEXT_LIMIT),
        "named": named_in(" ".join(shown)),
        "cmdline_start": first_words(shown, MESSAGE_LIMIT),
        "script": script_of(arguments, cwd),
        "unreadable": problem or cwd_problem,
    }


def script_of(arguments: "list[str]", cwd: str) -> str:
    """Return the absolute path of the script that a process runs, empty for a binary."""
    for argument in arguments[:2]:
        if argument.endswith(".sh"):
            return os.path.normpath(os.path.join(cwd, argument))
    return ""


def holder(inodes: "dict[str, tuple[int, str]]", known: "list[dict[str, Any]]") -> "dict[str, Any]":
    """Return the process that holds a listening socket: a known one, else the first found in /proc.

    `unreadable` has the error if the sockets of some process cannot be read.
    """
    for candidate in known:
        if inodes.keys() & candidate["inodes"]:
            return {key: candidate[key] for key in ("pid", "comm", "exe", "owner", "unreadable")}
    owner, unreadable = user_name(next(iter(inodes.values()))[0]), ""
    for pid in pids():
        held, problem = socket_inodes(pid)
        unreadable = unreadable or problem
        if inodes.keys() & held:
            base = f"/proc/{pid}/"
            exe = strip_deleted_mark(link(base + "exe")[0])[0]
            return {"pid": pid, "comm": read(base + "comm").strip(), "exe": exe, "owner": owner, "unreadable": ""}
    return {"pid": None, "comm": "", "exe": "", "owner": owner, "unreadable": unreadable}


def pids() -> "list[int]":
    """Return the pids of all processes."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def named_in(cmdline: str) -> "dict[str, Any]":
    """Return what a whole command line names: SQL port and application name, None without; the exporter's port.

    See docs/reference/obproxy.md 3.
    """
    sql_port, exporter_port, app_name = (one.search(cmdline) for one in (_SQL_PORT, _EXPORTER_PORT, _APP_NAME))
    return {
        "sql_port": int(sql_port.group(1)) if sql_port else None,
        "exporter_port": int(exporter_port.group(1)) if exporter_port else DEFAULT_EXPORTER_PORT,
        "app_name": app_name.group(1) if app_name else None,
    }
