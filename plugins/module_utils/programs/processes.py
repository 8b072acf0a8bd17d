"""Part of host programs: reads a process, and starts it again in the same way."""

# ruff: noqa: PTH115, PTH119, PTH123, PTH208

import os
import resource
import subprocess

try:  # noqa: SIM105
    from .process_lifetime import start_time
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMITS = {
    "Max open files": resource.RLIMIT_NOFILE,
    "Max core file size": resource.RLIMIT_CORE,
    "Max processes": resource.RLIMIT_NPROC,
    "Max locked memory": resource.RLIMIT_MEMLOCK,
}
NAMESPACES = ("mnt", "net", "pid", "user")


def strings_of(pid: int, name: str) -> "list[str]":
    """Return the strings in /proc/PID/cmdline or environ; raises OSError when the process is gone."""
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return [os.fsdecode(word) for word in file.read().rstrip(b"\0").split(b"\0")]


def comm_of(pid: int) -> str:
    """Return the name of a process; raises OSError when it is gone."""
    with open(f"/proc/{pid}/comm", "rb") as file:
        return os.fsdecode(file.read()).strip()


def parent_of(pid: int) -> int:
    """Return the parent's pid, 0 when there is none; raises OSError when the process is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])


def home_of_process(pid: int) -> str:
    """Return an OBProxy's home: its working directory, or what OBPROXY_ROOT says; raises OSError when it is gone."""
    root = next((item[13:] for item in strings_of(pid, "environ") if item.startswith("OBPROXY_ROOT=/")), "")
    return root or os.readlink(f"/proc/{pid}/cwd")


def identity(pid: int) -> "dict[str, Any]":
    """Return the properties that a restart must keep: executable, home, namespaces; raises OSError when it is gone."""
    return {
        "executable": os.readlink(f"/proc/{pid}/exe"),
        "home": home_of_process(pid),
        "namespaces": [os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES],
    }


def launch_state(pid: int) -> "dict[str, Any]":
    """Return the properties needed to start a process again; raises OSError when it has ended."""
    arguments, comm = strings_of(pid, "cmdline"), comm_of(pid)
    if len(arguments) > 1 and comm != os.path.basename(arguments[0]) and comm == os.path.basename(arguments[1])[:15]:
        del arguments[0]  # a script by its first line; through the shell its comm would be the shell's (trap 12)
    items = [item.partition("=") for item in strings_of(pid, "environ") if "=" in item]
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {
        "arguments": arguments,
        "environment": {key: value for key, _, value in items if not key.startswith("OBPROXY_INHERITED")},
        "directory": os.readlink(f"/proc/{pid}/cwd"),
        "uid": int(status["Uid"].split()[1]),
        "gid": int(status["Gid"].split()[1]),
        "groups": [int(group) for group in status["Groups"].split()],
        "limits": limits(pid),
    }


def limits(pid: int) -> "list[tuple[int, tuple[int, int]]]":
    """Return a process's limits, which daemons inherit (docs/reference/obproxy.md trap 27)."""
    found = []
    with open(f"/proc/{pid}/limits") as file:
        for line in file:
            name, words = line[:26].strip(), line[26:].split()
            if name in LIMITS:
                soft, hard = [resource.RLIM_INFINITY if word == "unlimited" else int(word) for word in words[:2]]
                found.append((LIMITS[name], (soft, hard)))
    return found


def relaunch(process: "dict[str, Any]", arguments: "list[str]") -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, as the process's user, in its directory and with its environment."""

    def become_it() -> None:
        os.setsid()
        for limit, values in process["limits"]:
            try:
                resource.setrlimit(limit, values)
            except (OSError, ValueError):  # root in a container may only lower limits
                continue
        os.setgroups(process["groups"])
        os.setgid(process["gid"])
        os.setuid(process["uid"])
        os.chdir(process["directory"])  # as this user, who owns the directory

    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            arguments, stdin=quiet, stdout=quiet, stderr=quiet, env=process["environment"], preexec_fn=become_it
        )
    except subprocess.SubprocessError as error:
        raise OSError(f"{process['directory']}: user {process['uid']} cannot start {arguments[0]} there") from error


def proxies_in(home: str) -> "list[int]":
    """Return the OBProxies whose home is this directory."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if comm_of(int(name)) == "obproxy" and home_of_process(int(name)) == home and start_time(int(name)):
                found.append(int(name))
        except (OSError, ValueError):
            continue
    return found
