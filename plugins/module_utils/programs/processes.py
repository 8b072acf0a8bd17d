"""Part of host programs: reads a process, and starts it again in the same way."""

# ruff: noqa: PTH115, PTH119, PTH123, PTH208

import os
import resource
import subprocess

try:
    from .process_lifetime import start_time
    from .users import become, user_of
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
    """Return an OBProxy's home: its working directory, or OBPROXY_ROOT if set; raise OSError when it is gone."""
    root = next((item[13:] for item in strings_of(pid, "environ") if item.startswith("OBPROXY_ROOT=/")), "")
    return root or os.readlink(f"/proc/{pid}/cwd")


def identity(pid: int) -> "dict[str, Any]":
    """Return the properties that a restart must keep: executable, home, user, namespaces.

    Raise OSError when the process has ended.
    """
    return {
        "executable": os.readlink(f"/proc/{pid}/exe"),
        "home": home_of_process(pid),
        "user": status_of(pid)["Uid"].split(),
        "namespaces": [os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES],
    }


def status_of(pid: int) -> "dict[str, str]":
    """Return the fields of /proc/PID/status; raises OSError when the process has ended."""
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def launch_state(process: "dict[str, Any]") -> "dict[str, Any]":
    """Return the properties needed to start a process (pid, started) again; raises OSError when it has ended.

    A process with privileges of root or of several users is not started again: its user chooses its program, arguments
    and environment, and a setuid program can have any name.
    """
    pid, user = process["pid"], user_of(process)
    arguments, comm = strings_of(pid, "cmdline"), comm_of(pid)
    if len(arguments) > 1 and comm != os.path.basename(arguments[0]) and comm == os.path.basename(arguments[1])[:15]:
        del arguments[0]  # a script by its first line; through the shell its comm would be the shell's (trap 12)
    items = [item.partition("=") for item in strings_of(pid, "environ") if "=" in item]
    return {
        "arguments": arguments,
        "environment": {key: value for key, _, value in items if not key.startswith("OBPROXY_INHERITED")},
        "directory": os.readlink(f"/proc/{pid}/cwd"),
        "user": user,
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
        become(process["user"])
        os.chdir(process["directory"])  # as this user, who owns the directory

    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            arguments, stdin=quiet, stdout=quiet, stderr=quiet, env=process["environment"], preexec_fn=become_it
        )
    except subprocess.SubprocessError as error:
        raise OSError(
            f"{process['directory']}: user {process['user']['uid']} cannot start {arguments[0]} there"
        ) from error


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
