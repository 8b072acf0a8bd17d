"""Runs on the host, as root: reads everything about the OBProxy at one SQL port and changes nothing.

The order of discovery is that of docs/reference/obproxy.md 7.4: the listening socket leads to the process, names and
keywords do not.
"""

# importing pathlib would cost the host a third of this program's time
# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH118, PTH119, PTH120, PTH123, PTH208

import errno
import json
import os
import re
import signal
import sys

try:
    from .commands import packages_and_commands
    from .listeners import (
        ABSENT,
        LONGEST_FILE,
        exporter_port,
        holder,
        listening_sockets,
        pids,
        process,
        read,
        socket_inodes,
        user_name,
    )
    from .supervision import apart, engine_of, supervision_of
except ImportError:  # on the host there is no package, and the names are there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
MOST_PROCESSES = 50
_TRACE = 19  # the number of CAP_SYS_PTRACE
_FOREIGN = re.compile("[\udc80-\udcff]")  # bytes of a name that are no UTF-8, as Python has them


def disk(path: str, shown: "str | None" = None) -> "dict[str, Any]":
    """Return the space and the files that an ordinary user has below a path or its nearest existing parent."""
    there = path
    while there != "/" and not os.path.exists(there):
        there = os.path.dirname(there) or "/"
    found = {"path": shown or path, "free_mb": None, "free_files": None, "read_only": False, "error": None}
    try:
        room = os.statvfs(there)
    except OSError as error:
        return dict(found, error=str(error.strerror), told=f"{shown or path} cannot be read: {error.strerror}")
    free = room.f_bavail * room.f_frsize // 2**20
    files = room.f_favail if room.f_files else None  # some file systems have no fixed number of files
    told = f"{shown or path} has {free} MiB free" + (f" and room for {files} files" if files is not None else "")
    read_only = bool(room.f_flag & os.ST_RDONLY)
    return dict(found, free_mb=free, free_files=files, told=told, read_only=read_only)


def file(path: str) -> "dict[str, Any]":
    """Return one of root's own files that a takeover keeps: its text (64 KiB at most), None when it is not there.

    `error` says why one that is there has no text.
    """
    try:
        if os.path.islink(path):
            raise OSError(errno.ELOOP, "it is a symbolic link")
        if os.path.lexists(path) and not os.path.isfile(path):
            raise OSError(errno.EINVAL, "it is no regular file")
        with open(path, "rb") as opened:
            text = opened.read(LONGEST_FILE + 1)
    except OSError as error:
        return {"path": path, "text": None, "error": None if error.errno in ABSENT else str(error.strerror)}
    if len(text) > LONGEST_FILE:
        return {"path": path, "text": None, "error": f"it is longer than {LONGEST_FILE // 1024} KiB"}
    return {"path": path, "text": text.decode("utf-8", "replace"), "error": None}


def absent(files: "list[str]") -> "list[str]":
    """Return the directories that would have to be made for these files."""
    found = set()  # type: set[str]
    for path in files:
        above = os.path.dirname(path)
        while not os.path.lexists(above):
            found.add(above)
            above = os.path.dirname(above)
    return sorted(found)


def leftovers(files: "list[str]") -> "list[str]":
    """Return temporary files that a killed run left beside the files that it writes (`converge.TEMPORARY`)."""
    places = sorted({os.path.dirname(path) for path in files})
    names = ((place, name) for place in places if os.path.isdir(place) for name in os.listdir(place))
    return sorted(os.path.join(place, name) for place, name in names if name.startswith(".obproxy-takeover-"))


def host() -> "dict[str, Any]":
    """Return what the host is, and what this program may do on it."""
    release = dict(
        line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line and not line.startswith("#")
    )
    managers = [name for name in ("dnf", "yum", "rpm") if os.access("/usr/bin/" + name, os.X_OK)]
    capabilities = re.search(r"^CapEff:\s*(\w+)", read("/proc/self/status"), re.MULTILINE)
    return {
        "name": os.uname().nodename,
        "architecture": os.uname().machine,
        "os": " ".join(release.get(key, "").strip('"') for key in ("ID", "VERSION_ID")).strip(),
        "package_manager": managers[0] if managers else None,
        "is_root": os.geteuid() == 0,
        "can_trace": capabilities is None or bool(int(capabilities.group(1), 16) >> _TRACE & 1),
        "selinux": {"1": "enforcing", "0": "permissive"}.get(read("/sys/fs/selinux/enforce").strip()),
        "python": ".".join(str(part) for part in sys.version_info[:3]),
    }


def tables(pid: str) -> "list[str]":
    """Return the tables of TCP sockets in a process's network namespace."""
    return [read(f"/proc/{pid}/net/tcp", 2**24), read(f"/proc/{pid}/net/tcp6", 2**24)]


def listen_at(found: "dict[str, Any]", sockets: "dict[int, dict[str, tuple[int, str]]]") -> None:
    """Add to a process the ports that it listens on, with the addresses."""
    inodes, found["inodes_unread"] = socket_inodes(found["pid"])
    held = {port: inodes & at_port.keys() for port, at_port in sockets.items() if inodes & at_port.keys()}
    found["inodes"], found["ports"] = inodes, sorted(held)
    found["addresses"] = {str(port): sorted({sockets[port][one][1] for one in held[port]}) for port in held}
    found["unread"] = found["unread"] or found["inodes_unread"]


def where(found: "dict[str, Any]") -> None:
    """Add to an OBProxy whose namespaces differ from this program's, and the container engine that it runs under."""
    found["namespaces"], found["engine"], found["ports_inside"] = [], None, []
    try:
        found["namespaces"], found["engine"] = apart(found["pid"]), engine_of(found["pid"])
    except OSError as error:
        found["unread"] = found["unread"] or ("" if error.errno in ABSENT else str(error.strerror))
    if "net" in found["namespaces"]:
        inside = listening_sockets(tables(str(found["pid"])))
        found["ports_inside"] = sorted(port for port, held in inside.items() if held.keys() & found["inodes"])


def all_processes(keywords: "list[str]", sockets: "dict[int, dict[str, tuple[int, str]]]") -> "list[dict[str, Any]]":
    """Return the processes with a keyword, each with where it listens and runs."""
    found = [one for one in (process(pid, keywords) for pid in pids()) if one][:MOST_PROCESSES]
    for one in found:
        listen_at(one, sockets)
        if "obproxy" in (one["comm"], os.path.basename(one["exe"])) and not one["defunct"]:
            where(one)
        else:
            one.update(namespaces=[], engine=None, ports_inside=[])
    return found


def serving(port: int, processes: "list[dict[str, Any]]") -> "dict[str, Any] | None":
    """Return the process at a port; of an old one and its successor in a hot restart the successor."""
    holders = [found for found in processes if port in found["ports"]]
    parents = {(found["ppid"], found["home"]) for found in holders}
    return next((found for found in holders if (found["pid"], found["home"]) not in parents), None)


def home_disk(found: "dict[str, Any] | None") -> "list[dict[str, Any]]":
    """Return the disk of an OBProxy's home, which may have been removed, or be a container's."""
    return [disk(f"/proc/{found['pid']}/cwd/.", found["home"])] if found and found["home"] else []


def strangers(found: "dict[str, Any] | None", held: "dict[str, tuple[int, str]]") -> "list[str]":
    """Return the addresses at which sockets listen that are not this process's."""
    own = found["inodes"] if found else set()
    return sorted({address for inode, (_, address) in held.items() if inode not in own})


def probe(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Return everything in one pass. `wanted`: sql_port, keywords, commands, owner, directories, files, places,
    executables, seconds.

    Each of the processes carries the ports that it listens on; `sql_port` names the one that holds the SQL port.
    """
    sockets = listening_sockets(tables("self"))
    processes = all_processes(wanted["keywords"], sockets)
    at_port = serving(wanted["sql_port"], processes)
    ports = {wanted["sql_port"], exporter_port(at_port["cmdline"] if at_port else "")} & sockets.keys()
    first = {port: next(iter(held.values()))[0] for port, held in sorted(sockets.items())[:200]}
    result = {
        "host": host(),
        "processes": processes,
        "holders": {str(port): holder(sockets[port], processes) for port in sorted(ports)},
        "strangers": {str(port): strangers(at_port, sockets[port]) for port in sorted(ports)},
        "listeners": {str(port): user_name(uid) for port, uid in first.items()},
        "disks": [disk(path) for path in wanted["directories"]] + home_disk(at_port),
        "files": [file(path) for path in wanted["files"]],
        "leftovers": leftovers(wanted["files"]),
        "absent_directories": absent(wanted["files"] + wanted["places"]),
        "executables": [path for path in wanted["executables"] if os.access(path, os.X_OK)],
        "supervision": supervision_of(at_port, wanted["sql_port"]) if at_port else None,
    }
    result.update(packages_and_commands(wanted, at_port))
    for found in processes:
        del found["inodes"], found["inodes_unread"]
    return result


def plain(value: "Any") -> "Any":
    """Return an answer whose texts any program can take: bytes that are no UTF-8 become \\xNN."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, str) and _FOREIGN.search(value):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return value


def main(wanted: "dict[str, Any]") -> None:
    """Print the answer as one marked line; the alarm ends the whole program when the host is stuck."""
    signal.alarm(wanted["seconds"])
    print(MARKER + json.dumps(plain(probe(wanted)), sort_keys=True))
