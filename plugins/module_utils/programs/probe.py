"""Host program, run as root: reads the state of the OBProxy at one SQL port; changes nothing.

The listening socket identifies the process; names and keywords do not (docs/reference/obproxy.md 7.4).
"""

# importing pathlib takes a third of this program's time
# ruff: noqa: PTH118, PTH119, PTH120

import json
import os
import re
import signal
import sys

try:
    from .commands import packages_and_commands
    from .files import TEMPORARY, exists, names_in, open_directory, text_at
    from .listeners import (
        DEFAULT_EXPORTER_PORT,
        FILE_LIMIT,
        holder,
        listening_sockets,
        pids,
        process,
        read,
        user_name,
    )
    from .sockets import ABSENT, socket_inodes
    from .supervision import engine_of, separate_namespaces, supervision_of
    from .users import USER_FILES_TIMEOUT, run_as, user_named, user_of
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
PROCESS_LIMIT = 50
_TRACE = 19  # the number of CAP_SYS_PTRACE
_FOREIGN = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as surrogate escapes
_FOREIGN_PART = re.compile("(?s).*[\udc80-\udcff][^/]*")


def open_nearest_directory(path: str) -> int:
    """Return the file descriptor of a directory, or of its nearest existing parent; raises OSError."""
    while True:
        try:
            return open_directory(path)
        except (FileNotFoundError, NotADirectoryError):
            path = os.path.dirname(path.rstrip("/")) or "/"


def disk(path: str) -> "dict[str, Any]":
    """Return the free space and inodes for an ordinary user in a directory, or in its nearest existing parent."""
    try:
        directory = open_nearest_directory(path)
    except OSError as error:
        return unreadable_disk(path, error)
    try:
        return room(directory, path)
    finally:
        os.close(directory)


def unreadable_disk(shown: str, error: OSError) -> "dict[str, Any]":
    """Return a disk whose free space is unknown, with the error."""
    found = {"path": shown, "free_mb": None, "free_files": None, "read_only": False}
    return dict(found, error=str(error.strerror), description=f"{shown} cannot be read: {error.strerror}")


def room(directory: int, shown: str) -> "dict[str, Any]":
    """Return the free space and inodes of an open directory."""
    try:
        free_room = os.statvfs(f"/proc/self/fd/{directory}/.")
    except OSError as error:
        return unreadable_disk(shown, error)
    free = free_room.f_bavail * free_room.f_frsize // 2**20
    files = free_room.f_favail if free_room.f_files else None  # some file systems have no fixed number of files
    description = f"{shown} has {free} MiB free" + (f" and room for {files} files" if files is not None else "")
    read_only = bool(free_room.f_flag & os.ST_RDONLY)
    return {
        "path": shown,
        "free_mb": free,
        "free_files": files,
        "read_only": read_only,
        "error": None,
        "description": description,
    }


def file(path: str) -> "dict[str, Any]":
    """Return the text of one of the takeover's files (64 KiB at most), None when it does not exist.

    `error` is set when it exists and cannot be read.
    """
    try:
        return {"path": path, "text": text_at(path, FILE_LIMIT), "error": None}
    except OSError as error:
        return {"path": path, "text": None, "error": str(error.strerror)}


def absent(files: "list[str]") -> "list[str]":
    """Return the missing directories of these files; none for an unsafe path."""
    found = set()  # type: set[str]
    for path in files:
        above = os.path.dirname(path)
        try:
            while above.strip("/") and not exists(above):
                found.add(above)
                above = os.path.dirname(above)
        except OSError:
            continue
    return sorted(found)


def leftovers(files: "list[str]") -> "list[str]":
    """Return temporary files that killed runs have left beside these files."""
    found = []
    for place in sorted({os.path.dirname(path) for path in files}):
        try:
            names = names_in(place) or []
        except OSError:  # reported for the file itself
            continue
        found += [os.path.join(place, name) for name in names if name.startswith(TEMPORARY)]
    return found


def read_as_user(places: "list[str]", executables: "list[str]") -> "dict[str, list[str]]":
    """Return the missing directories of these files, and the programs that can be executed."""
    return {"absent": absent(places), "executables": [path for path in executables if os.access(path, os.X_OK)]}


def files_of_user(wanted: "dict[str, Any]", found: "dict[str, Any] | None") -> "dict[str, list[str]]":
    """Return the files in directories of the OBProxy's user, read as that user; none without such a user."""
    try:
        user = user_of(found) if found else user_named(wanted["owner"])
        return dict(run_as(user, read_as_user, wanted["places"], wanted["executables"], seconds=USER_FILES_TIMEOUT))
    except OSError:
        return {"absent": [], "executables": []}


def host() -> "dict[str, Any]":
    """Return the host's name, system and tools, and the privileges of this program."""
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


def add_ports(found: "dict[str, Any]", sockets: "dict[int, dict[str, tuple[int, str]]]") -> None:
    """Add to a process the ports that it listens on, with the addresses."""
    inodes, found["inodes_unreadable"] = socket_inodes(found["pid"])
    held = {port: inodes & at_port.keys() for port, at_port in sockets.items() if inodes & at_port.keys()}
    found["inodes"], found["ports"] = inodes, sorted(held)
    found["addresses"] = {str(port): sorted({sockets[port][one][1] for one in held[port]}) for port in held}
    found["unreadable"] = found["unreadable"] or found["inodes_unreadable"]


def add_container(found: "dict[str, Any]") -> None:
    """Add to an OBProxy its separate namespaces and its container engine."""
    found["namespaces"], found["engine"], found["ports_inside"] = [], None, []
    try:
        found["namespaces"], found["engine"] = separate_namespaces(found["pid"]), engine_of(found["pid"])
    except OSError as error:
        found["unreadable"] = found["unreadable"] or ("" if error.errno in ABSENT else str(error.strerror))
    if "net" in found["namespaces"]:
        inside = listening_sockets(tables(str(found["pid"])))
        found["ports_inside"] = sorted(port for port, held in inside.items() if held.keys() & found["inodes"])


def non_utf8_paths(paths: "list[str]") -> "list[str]":
    """Return the paths up to their last component that is not UTF-8."""
    return sorted({found.group(0) for found in map(_FOREIGN_PART.match, paths) if found})


def all_processes(keywords: "list[str]", sockets: "dict[int, dict[str, tuple[int, str]]]") -> "list[dict[str, Any]]":
    """Return the processes with a keyword, with their ports and containers."""
    found = [one for one in (process(pid, keywords) for pid in pids()) if one][:PROCESS_LIMIT]
    for one in found:
        add_ports(one, sockets)
        one["foreign_paths"] = non_utf8_paths([one[name] for name in ("home", "exe", "script")])
        if "obproxy" in (one["comm"], os.path.basename(one["exe"])) and not one["defunct"]:
            add_container(one)
        else:
            one.update(namespaces=[], engine=None, ports_inside=[])
    return found


def process_at_port(port: int, processes: "list[dict[str, Any]]") -> "dict[str, Any] | None":
    """Return the process at a port; during a hot restart, the successor."""
    holders = [found for found in processes if port in found["ports"]]
    parents = {(found["ppid"], found["home"]) for found in holders}
    return next((found for found in holders if (found["pid"], found["home"]) not in parents), None)


def home_disk(found: "dict[str, Any] | None") -> "list[dict[str, Any]]":
    """Return the disk of an OBProxy's home, read as its user, also when the home was removed or is in a container.

    Return none for root's OBProxy and for one that has ended.
    """
    if not found or not found["home"]:
        return []
    try:
        user = user_of(found)
        directory = os.open(f"/proc/{found['pid']}/cwd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return [run_as(user, room, directory, found["home"], seconds=USER_FILES_TIMEOUT)]
    except OSError as error:
        return [unreadable_disk(found["home"], error)]
    finally:
        os.close(directory)


def foreign_addresses(found: "dict[str, Any] | None", held: "dict[str, tuple[int, str]]") -> "list[str]":
    """Return the addresses at which sockets of other processes listen."""
    own = found["inodes"] if found else set()
    return sorted({address for inode, (_, address) in held.items() if inode not in own})


def probe(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Return the state of the host.

    `wanted`: sql_port, keywords, commands, owner, directories, files, places, executables, seconds.
    Each process has the ports that it listens on; one of them is `sql_port`.
    """
    sockets = listening_sockets(tables("self"))
    processes = all_processes(wanted["keywords"], sockets)
    at_port = process_at_port(wanted["sql_port"], processes)
    exporter_port = at_port["named"]["exporter_port"] if at_port else DEFAULT_EXPORTER_PORT
    ports = {wanted["sql_port"], exporter_port} & sockets.keys()
    first = {port: next(iter(held.values()))[0] for port, held in sorted(sockets.items())[:200]}
    theirs = files_of_user(wanted, at_port)
    result = {
        "host": host(),
        "processes": processes,
        "holders": {str(port): holder(sockets[port], processes) for port in sorted(ports)},
        "foreign_addresses": {str(port): foreign_addresses(at_port, sockets[port]) for port in sorted(ports)},
        "listeners": {str(port): user_name(uid) for port, uid in first.items()},
        "disks": [disk(path) for path in wanted["directories"]] + home_disk(at_port),
        "files": [file(path) for path in wanted["files"]],
        "leftovers": leftovers(wanted["files"]),
        "absent_directories": sorted({*absent(wanted["files"]), *theirs["absent"]}),
        "executables": theirs["executables"],
        "supervision": supervision_of(at_port, wanted["sql_port"]) if at_port else None,
    }
    result.update(packages_and_commands(wanted, at_port))
    for found in processes:
        del found["inodes"], found["inodes_unreadable"]
    return result


def printable(value: "Any") -> "Any":
    """Return the result with valid UTF-8 texts: other bytes become \\xNN."""
    if isinstance(value, dict):
        return {key: printable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [printable(inner) for inner in value]
    if isinstance(value, str) and _FOREIGN.search(value):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return value


def main(wanted: "dict[str, Any]") -> None:
    """Print the result as one marked line; an alarm ends the program if the host hangs."""
    signal.alarm(wanted["seconds"])
    print(MARKER + json.dumps(printable(probe(wanted)), sort_keys=True))
