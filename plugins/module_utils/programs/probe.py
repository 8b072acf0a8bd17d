"""Runs on the host, as root: reads everything about the OBProxy at one SQL port and changes nothing.

The order of discovery is that of docs/reference/obproxy.md 7.4: the listening socket leads to the process, names and
keywords do not.
"""

# importing pathlib would cost the host a third of this program's time
# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH115, PTH116, PTH118, PTH119, PTH120, PTH123, PTH208

import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
SHELLS = {"sh", "bash", "dash", "ksh", "zsh"}
LONGEST_TEXT = 2000
LONGEST_FILE = 64 * 1024
MOST_PROCESSES = 50
_SECRET_ITEM = re.compile(r"((?:^|[,\s])[^=,\s]*(?:password|secret|credential)[^=,\s]*=)[^,\s]*", re.IGNORECASE)


def mask(text: str) -> str:
    """A command line without the values of its secret items: "-o a=1,obproxy_sys_password=***"."""
    return _SECRET_ITEM.sub(r"\1***", text)


def read(path: str, limit: int = LONGEST_FILE) -> str:
    """The beginning of a file as text, empty when it cannot be read (a process may be gone by now)."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def link(path: str) -> str:
    """Where a symbolic link points, empty when it cannot be read."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def listening_sockets(tables: "list[str]") -> "dict[int, dict[str, int]]":
    """Port → {socket inode: uid} of the listening TCP sockets in the texts of /proc/net/tcp and tcp6."""
    ports = {}  # type: dict[int, dict[str, int]]
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split(None, 10)
            if len(fields) >= 10 and fields[3] == "0A":
                port = int(fields[1].rpartition(":")[2], 16)
                ports.setdefault(port, {})[fields[9]] = int(fields[7])
    return ports


def socket_inodes(pid: int) -> "set[str]":
    """The inodes of all sockets that a process holds."""
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return set()
    targets = (link(directory + "/" + name) for name in names)
    return {target[8:-1] for target in targets if target.startswith("socket:[")}


def keyword_of(comm: str, exe: str, arguments: "list[str]", keywords: "list[str]") -> "str | None":
    """Which keyword a process bears by name: its comm, its executable, or the script that a shell runs.

    Argument strings are not searched: `tail -f obproxy.log` is no OBProxy (docs/reference/obproxy.md traps 11 and 12).
    """
    names = {comm, os.path.basename(exe)}
    if comm in SHELLS and len(arguments) > 1:
        names.add(os.path.basename(arguments[1]))
    return next((keyword for keyword in keywords if keyword in names), None)


def process(pid: int, keywords: "list[str]") -> "dict[str, Any] | None":
    """What /proc tells about one process; None when it bears no keyword or is gone."""
    base = f"/proc/{pid}/"
    comm = read(base + "comm").strip()
    exe = link(base + "exe")
    deleted = exe.endswith(" (deleted)")
    exe = exe[: -len(" (deleted)")] if deleted else exe
    arguments = read(base + "cmdline").rstrip("\0").split("\0") if exe else []
    keyword = keyword_of(comm, exe, arguments, keywords)
    stat = read(base + "stat").rpartition(")")[2].split() if keyword else []
    try:
        owner = user_name(os.stat(base).st_uid)
    except OSError:
        return None
    if len(stat) < 20:
        return None
    cwd = link(base + "cwd")
    environment = read(base + "environ").split("\0")
    root = next((item[len("OBPROXY_ROOT=") :] for item in environment if item.startswith("OBPROXY_ROOT=")), "")
    return {
        "pid": pid,
        "ppid": int(stat[1]),
        "started": int(stat[19]),
        "keyword": keyword,
        "comm": comm,
        "exe": exe,
        "exe_deleted": deleted,
        "home": root or cwd,
        "library_path": any(item.startswith("LD_LIBRARY_PATH=") for item in environment),
        "owner": owner,
        "cmdline": mask(" ".join(arguments))[:LONGEST_TEXT],
        "script": script_of(arguments, cwd),
    }


def script_of(arguments: "list[str]", cwd: str) -> str:
    """The absolute path of the script that a process runs, empty for a binary."""
    for argument in arguments[:2]:
        if argument.endswith(".sh"):
            return os.path.normpath(os.path.join(cwd, argument))
    return ""


def holder(inodes: "dict[str, int]", known: "list[dict[str, Any]]") -> "dict[str, Any]":
    """Who holds a listening socket: one of the known processes, else whoever is found in /proc."""
    for candidate in known:
        if inodes.keys() & candidate["inodes"]:
            return {key: candidate[key] for key in ("pid", "comm", "exe", "owner")}
    for pid in pids():
        if inodes.keys() & socket_inodes(pid):
            base = f"/proc/{pid}/"
            owner = user_name(next(iter(inodes.values())))
            return {"pid": pid, "comm": read(base + "comm").strip(), "exe": link(base + "exe"), "owner": owner}
    return {"pid": None, "comm": "", "exe": "", "owner": user_name(next(iter(inodes.values())))}


def pids() -> "list[int]":
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def exporter_port(cmdline: str) -> int:
    """The metrics port that a command line asks for, the built-in default otherwise (docs/reference/obproxy.md 3)."""
    found = re.search(r"(?:prometheus_listen_port[= ]|(?:^|\s)-l\s*)(\d+)", cmdline)
    return int(found.group(1)) if found else 2884


def start_command(arguments: "list[str]") -> "subprocess.Popen[str] | None":
    """A command whose output is read later, so that several run at once; None when there is no such program."""
    none, pipe = subprocess.DEVNULL, subprocess.PIPE
    options = {"universal_newlines": True, "cwd": "/", "start_new_session": True}  # type: dict[str, Any]
    try:
        return subprocess.Popen(arguments, stdin=none, stdout=pipe, stderr=none, **options)
    except OSError:
        return None


def output(command: "subprocess.Popen[str] | None", deadline: float) -> "str | None":
    """A command's standard output; None when it failed, was not there, or was killed at the deadline."""
    if command is None:
        return None
    try:
        text, _ = command.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(command.pid, signal.SIGKILL)
        command.communicate()
        return None
    return text if command.returncode == 0 else None


def commands_probe(owner: str, commands: "list[str]") -> "list[str]":
    """The command that prints which commands a user's login shell does not find, one marked line each."""
    words = " ".join(shlex.quote(command) for command in commands)
    script = f'for c in {words}; do command -v "$c" >/dev/null 2>&1 || echo "missing:$c"; done'
    try:
        shell = pwd.getpwnam(owner).pw_shell
    except KeyError:
        return ["/bin/sh", "-lc", script]
    usable = os.path.basename(shell) in SHELLS
    return ["su", "-", owner] + ([] if usable else ["-s", "/bin/sh"]) + ["-c", script]


def version_probe(found: "dict[str, Any]") -> "subprocess.Popen[str] | None":
    """`obproxy -V` as the OBProxy's own user, for a binary of no package; it prints to standard error."""
    script = f"/proc/{found['pid']}/exe -V 2>&1"
    return start_command(["su", found["owner"], "-s", "/bin/sh", "-c", script])


def packages_and_commands(wanted: "dict[str, Any]", found: "dict[str, Any] | None") -> "dict[str, Any]":
    """What rpm knows, and which commands are missing for the OBProxy's user; asked at the same time."""
    deadline = time.monotonic() + wanted["seconds"] * 0.6
    form = "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n"
    installed = start_command(["rpm", "-qa", "--qf", form, "obproxy*"])
    owning = start_command(["rpm", "-q", "--qf", form, "-f", found["exe"]]) if found else None
    commands = wanted["commands"]
    missing = start_command(commands_probe(found["owner"] if found else wanted["owner"], commands or ["sh"]))
    packages = sorted((output(installed, deadline) or "").split())
    package = (output(owning, deadline) or "").split()
    answer = output(missing, deadline)
    version = output(version_probe(found), deadline) if found and not package else None
    return {
        "packages": packages,
        "package": package[0] if package else None,
        "missing_commands": re.findall(r"^missing:(.+)$", answer or "", re.MULTILINE),
        "commands_checked": answer is not None,
        "binary_version": (version or "")[:200],
    }


def disk(path: str) -> "dict[str, Any]":
    """The space that an ordinary user has below a path or its nearest existing parent, in MiB."""
    there = path
    while there != "/" and not os.path.exists(there):
        there = os.path.dirname(there) or "/"
    room = os.statvfs(there)
    free = room.f_bavail * room.f_frsize // 2**20
    return {
        "path": path,
        "free_mb": free,
        "told": f"{path} has {free} MiB free",
        "read_only": bool(room.f_flag & os.ST_RDONLY),
    }


def file(path: str) -> "dict[str, Any]":
    """One of root's own files that a takeover keeps: its text (64 KiB at most), None when it is not there."""
    if os.path.islink(path) or not os.path.isfile(path):
        return {"path": path, "text": None}
    return {"path": path, "text": read(path)}


def absent(files: "list[str]") -> "list[str]":
    """The directories that would have to be made for these files."""
    found = set()  # type: set[str]
    for path in files:
        above = os.path.dirname(path)
        while not os.path.lexists(above):
            found.add(above)
            above = os.path.dirname(above)
    return sorted(found)


def leftovers(files: "list[str]") -> "list[str]":
    """Temporary files that a killed run left beside the files that a takeover writes (`converge.TEMPORARY`)."""
    places = sorted({os.path.dirname(path) for path in files})
    names = ((place, name) for place in places if os.path.isdir(place) for name in os.listdir(place))
    return sorted(os.path.join(place, name) for place, name in names if name.startswith(".obproxy-takeover-"))


def host() -> "dict[str, Any]":
    release = dict(
        line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line and not line.startswith("#")
    )
    managers = [name for name in ("dnf", "yum", "rpm") if os.access("/usr/bin/" + name, os.X_OK)]
    return {
        "name": os.uname().nodename,
        "architecture": os.uname().machine,
        "os": " ".join(release.get(key, "").strip('"') for key in ("ID", "VERSION_ID")).strip(),
        "package_manager": managers[0] if managers else None,
        "is_root": os.geteuid() == 0,
        "selinux": {"1": "enforcing", "0": "permissive"}.get(read("/sys/fs/selinux/enforce").strip()),
        "python": ".".join(str(part) for part in sys.version_info[:3]),
    }


def probe(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Everything in one pass. `wanted`: sql_port, keywords, commands, owner, directories, files, places,
    executables, seconds.

    Each of the processes carries the ports that it listens on; `sql_port` names the one that holds the SQL port.
    """
    sockets = listening_sockets([read("/proc/net/tcp", 2**24), read("/proc/net/tcp6", 2**24)])
    processes = [found for found in (process(pid, wanted["keywords"]) for pid in pids()) if found][:MOST_PROCESSES]
    for found in processes:
        found["inodes"] = socket_inodes(found["pid"])
        found["ports"] = sorted(port for port, inodes in sockets.items() if inodes.keys() & found["inodes"])
    at_port = next((found for found in processes if wanted["sql_port"] in found["ports"]), None)
    ports = {wanted["sql_port"], exporter_port(at_port["cmdline"] if at_port else "")} & sockets.keys()
    result = {
        "host": host(),
        "processes": processes,
        "holders": {str(port): holder(sockets[port], processes) for port in sorted(ports)},
        "listeners": {str(port): user_name(next(iter(uids.values()))) for port, uids in sorted(sockets.items())[:200]},
        "disks": [disk(path) for path in wanted["directories"] + ([at_port["home"]] if at_port else [])],
        "files": [file(path) for path in wanted["files"]],
        "leftovers": leftovers(wanted["files"]),
        "absent_directories": absent(wanted["files"] + wanted["places"]),
        "executables": [path for path in wanted["executables"] if os.access(path, os.X_OK)],
    }
    result.update(packages_and_commands(wanted, at_port))
    for found in processes:
        del found["inodes"]
    return result


def main(wanted: "dict[str, Any]") -> None:
    """Print the answer as one marked line; the alarm ends the whole program when the host is stuck."""
    signal.alarm(wanted["seconds"])
    print(MARKER + json.dumps(probe(wanted), sort_keys=True))
