"""Runs on the host: brings an OBProxy through a restart, and its former values back when the new process does not come.

It starts again as what it was: its own program, directory, user, environment and limits, but without options, so that
the stored configuration acts (docs/reference/obproxy.md 2.5). Its watchdogs end before it and come back after it, as
they were: a watchdog that runs meanwhile would start a second one, one that is new would overwrite what is stored
(traps 14, 15). `start.py` and `stop.py` stand before this text when it is sent.
"""

# ruff: noqa: PTH115, PTH119, PTH123, PTH208

import json
import os
import resource
import signal
import subprocess
import time

try:
    from .start import Problem, listens
    from .stop import end, started
except ImportError:  # on the host there is no package, and the names are there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
LIMITS = {
    "Max open files": resource.RLIMIT_NOFILE,
    "Max core file size": resource.RLIMIT_CORE,
    "Max processes": resource.RLIMIT_NPROC,
    "Max locked memory": resource.RLIMIT_MEMLOCK,
}
GRACE = 3.0  # seconds after which a process that was started must be seen


def look(pid: int) -> "dict[str, Any]":
    """What it takes to start a process again as it was; raises OSError when it is gone."""
    base = f"/proc/{pid}/"
    with open(base + "cmdline", "rb") as file:
        arguments = [os.fsdecode(word) for word in file.read().rstrip(b"\0").split(b"\0")]
    with open(base + "comm") as file:
        comm = file.read().strip()
    if len(arguments) > 1 and comm != os.path.basename(arguments[0]) and comm == os.path.basename(arguments[1])[:15]:
        del arguments[0]  # a script by its first line; through the shell its comm would be the shell's (trap 12)
    with open(base + "environ", "rb") as file:
        items = [os.fsdecode(item).partition("=") for item in file.read().split(b"\0") if b"=" in item]
    with open(base + "status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {
        "arguments": arguments,
        "environment": {key: value for key, _, value in items if not key.startswith("OBPROXY_INHERITED")},
        "directory": os.readlink(base + "cwd"),
        "uid": int(status["Uid"].split()[1]),
        "gid": int(status["Gid"].split()[1]),
        "groups": [int(group) for group in status["Groups"].split()],
        "limits": limits(pid),
    }


def limits(pid: int) -> "list[tuple[int, tuple[int, int]]]":
    """A process's limits, which daemons inherit (docs/reference/obproxy.md trap 27), from what root may always read."""
    found = []
    with open(f"/proc/{pid}/limits") as file:
        for line in file:
            name, words = line[:26].strip(), line[26:].split()
            if name in LIMITS:
                soft, hard = [resource.RLIM_INFINITY if word == "unlimited" else int(word) for word in words[:2]]
                found.append((LIMITS[name], (soft, hard)))
    return found


def launch_again(process: "dict[str, Any]", arguments: "list[str]") -> None:
    """Start it in a session of its own, as its user, and do not wait for it."""

    def become() -> None:
        os.setsid()
        for limit, values in process["limits"]:
            try:
                resource.setrlimit(limit, values)
            except (OSError, ValueError):  # a container's root may lower limits only; what it has stays
                continue
        os.setgroups(process["groups"])
        os.setgid(process["gid"])
        os.setuid(process["uid"])

    quiet = subprocess.DEVNULL
    subprocess.Popen(
        arguments,
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        cwd=process["directory"],
        env=process["environment"],
        preexec_fn=become,
    )


def proxies_in(directory: str) -> "list[int]":
    """The OBProxies whose home is this directory."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/comm") as file:
                is_proxy = file.read().strip() == "obproxy"
            if is_proxy and os.readlink(f"/proc/{name}/cwd") == directory and started(int(name)) is not None:
                found.append(int(name))
        except (OSError, ValueError):
            continue
    return found


def comes_up(process: "dict[str, Any]", port: int, seconds: float) -> bool:
    """Whether an OBProxy listens there in time; false at once when there is no such process any more."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        alive = bool(proxies_in(process["directory"]))
        if alive and listens(port):
            return True
        if not alive and time.monotonic() > begun + GRACE:
            return False
        time.sleep(0.1)
    return False


def stop_all(process: "dict[str, Any]", port: int, seconds: float) -> None:
    """End what runs in this home and wait for its port; raises Problem."""
    for pid in proxies_in(process["directory"]):
        if not end(pid, int(seconds)):
            raise Problem(f"pid {pid} is still there after SIGKILL")
    deadline = time.monotonic() + seconds
    while listens(port):
        if time.monotonic() > deadline:
            raise Problem(f"port {port} is still taken after the OBProxy has ended")
        time.sleep(0.1)


def cold(process: "dict[str, Any]", wanted: "dict[str, Any]", options: "dict[str, str]") -> bool:
    """Stop and start; whether it came up."""
    stop_all(process, wanted["sql_port"], wanted["seconds"])
    arguments = [process["arguments"][0], "-p", str(wanted["sql_port"])]
    arguments += ["-n", wanted["app_name"]] if wanted["app_name"] else []
    arguments += ["-o", ",".join(f"{key}={value}" for key, value in sorted(options.items()))] if options else []
    launch_again(process, arguments)
    return comes_up(process, wanted["sql_port"], wanted["seconds"])


def hot(process: "dict[str, Any]", wanted: "dict[str, Any]") -> bool:
    """Wait for the end of a hot restart that was ordered by SQL: the old process has gone and a new one listens."""
    former = wanted["process"]
    deadline = time.monotonic() + wanted["drain_seconds"]
    while started(former["pid"]) == former["started"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return comes_up(process, wanted["sql_port"], GRACE)


def restart(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """`wanted`: process {pid, started, home}, watchdogs (pids), hot (a hot restart was ordered), sql_port, app_name,
    former (values for the way back), seconds, drain_seconds. The answer's `how`: hot, cold, or back."""
    if started(wanted["process"]["pid"]) != wanted["process"]["started"]:
        # A hot restart may be over before this program, on its way to a slow host, has begun.
        if wanted["hot"] and comes_up({"directory": wanted["process"]["home"]}, wanted["sql_port"], wanted["seconds"]):
            return {"how": "hot"}
        raise Problem(f"the OBProxy with pid {wanted['process']['pid']} does not run any more")
    process = look(wanted["process"]["pid"])
    watchdogs = [(pid, look(pid)) for pid in wanted["watchdogs"]]
    if wanted["hot"] and hot(process, wanted):
        return {"how": "hot"}
    for pid, _ in watchdogs:
        end(pid, wanted["seconds"])
    try:
        # After a failed hot restart it is known that a process with the new values does not come up.
        if not wanted["hot"] and cold(process, wanted, {}):
            return {"how": "cold"}
        back = cold(process, wanted, wanted["former"])
        return {"how": "back" if back else "down"}
    finally:
        for _, watchdog in watchdogs:
            launch_again(watchdog, watchdog["arguments"])


def main(wanted: "dict[str, Any]") -> None:
    """Print how it went, or the problem, as one marked line. It goes on to the end when nobody listens any more."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.alarm(wanted["seconds"] * 6 + wanted["drain_seconds"])
    try:
        answer = restart(wanted)
    except (Problem, OSError) as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
