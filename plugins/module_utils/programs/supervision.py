"""Host program: reads the supervision of an OBProxy: watchdogs, parents, systemd unit and container.

It changes nothing. `supervisors.py` on the controller evaluates the result. Other programs use its functions.
"""

# ruff: noqa: PTH115, PTH116, PTH118, PTH119, PTH120, PTH123, PTH208

import json
import os
import re
import signal
import subprocess

try:
    from .crontabs import cron_jobs_of
    from .files import read_regular
    from .process_lifetime import start_time
    from .processes import NAMESPACES, comm_of, home_of_process, identity, launch_state, parent_of, relaunch, strings_of
    from .sockets import ports_of
    from .users import USER_FILES_TIMEOUT, run_as, user_of
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
WATCHDOG = "obproxyd.sh"
UNIT = re.compile(r"/([^/\n]+\.service)(?:/|$)", re.MULTILINE)
ENGINE = re.compile(r"docker|libpod|containerd|kubepods|crio|lxc", re.IGNORECASE)
COMMAND_TIMEOUT = 10  # seconds for a command that only prints
NO_LIBRARY = 127  # exit status of a program that lacks a library; only that of 4.3.1 with -V is known, which is 0


def watchdog(pid: int, homes: "list[str]", port: int) -> "dict[str, Any] | None":
    """Return the data of a watchdog of the OBProxy with this home and port, None for others; raises OSError.

    OCP's script has the argument `-c checkalive` and lies in `bin` of the home. The script of the deployer (obd) gets
    home, address and port as arguments, and keeps the pid that it watches in `run` of the home.
    """
    words = strings_of(pid, "cmdline")
    at = next((at for at, word in enumerate(words[:2]) if os.path.basename(word) == WATCHDOG), None)
    if at is None:
        return None
    directory = os.readlink(f"/proc/{pid}/cwd")
    script, rest = os.path.normpath(os.path.join(directory, words[at])), words[at + 1 :]
    known = {"pid": pid, "started": start_time(pid), "script": script, "kind": WATCHDOG, "record": ""}
    if len(rest) >= 3 and rest[0].rstrip("/") in homes and rest[2] == str(port):
        return dict(known, kind="obd", record=f"{rest[0].rstrip('/')}/run/obproxy-{rest[1]}-{rest[2]}.pid")
    beside = os.path.dirname(os.path.dirname(script))
    return known if "checkalive" in rest and {beside, directory} & set(homes) else None


def watchdogs_of(homes: "list[str]", port: int) -> "list[dict[str, Any]]":
    """Return the watchdogs of an OBProxy, without the forked copies that probe the port."""
    found = []
    for name in os.listdir("/proc"):
        try:
            one = watchdog(int(name), homes, port)
            if one:
                found.append(dict(one, parent=parent_of(int(name))))
        except (OSError, ValueError):
            continue
    pids = {one["pid"] for one in found}
    return [one for one in found if one["parent"] not in pids]


def parents(pid: int, home: str) -> "list[dict[str, Any]]":
    """Return the parent processes of an OBProxy, the nearest first, without pid 1 and without a draining OBProxy.

    Raises OSError when one has ended.
    """
    found = []
    above = parent_of(pid)
    while above > 1:
        if comm_of(above) != "obproxy" or home_of_process(above) != home:
            words = [word for word in strings_of(above, "cmdline")[:2] if word.startswith(("/", "."))]
            found.append({"pid": above, "comm": comm_of(above), "program": " ".join(words)[:200]})
        above = parent_of(above)
    return found


def command_output(arguments: "list[str]") -> str:
    """Return the output of a command, empty when it fails or takes too long."""
    status, text = run_command(arguments)
    return text if status == 0 else ""


def run_command(arguments: "list[str]") -> "tuple[int | None, str]":
    """Return the exit status and the output of a command; None when it cannot be started or takes too long."""
    try:
        ended = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/"
        )
    except OSError:
        return None, ""
    try:
        text = ended.communicate(timeout=COMMAND_TIMEOUT)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        ended.kill()
        ended.communicate()
        return None, ""
    return ended.returncode, text


def unit_of(pid: int) -> "dict[str, Any] | None":
    """Return the systemd unit whose control group a process is in, None when there is none; raises OSError."""
    with open(f"/proc/{pid}/cgroup") as file:
        names = UNIT.findall(file.read())
    if not names:
        return None
    # A user names the units of that user's own manager; they are not the system's of the same name.
    name = next((name for name in names if name.startswith("user@")), names[-1])
    shown = command_output(["systemctl", "show", name, "-p", "MainPID", "-p", "ExecStart"])
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return {"name": name, "main_pid": int(values.get("MainPID") or 0), "starts": values.get("ExecStart", "")}


def separate_namespaces(pid: int) -> "list[str]":
    """Return the namespaces of a process that differ from this program's; raises OSError."""
    return [
        name for name in NAMESPACES if os.readlink(f"/proc/self/ns/{name}") != os.readlink(f"/proc/{pid}/ns/{name}")
    ]


def shares_host_files(pid: int) -> bool:
    """Return whether a process's executable and directory are the host's files of that name; raises OSError.

    A systemd unit with PrivateTmp has a mount namespace of its own and the host's files all the same. The names are
    looked up as the process's user.
    """
    user = user_of({"pid": pid, "started": start_time(pid)})
    opened = []  # type: list[int]
    try:
        for name in ("exe", "cwd"):
            opened.append(os.open(f"/proc/{pid}/{name}", os.O_PATH | os.O_CLOEXEC))
        paths = [os.readlink(f"/proc/{pid}/{name}") for name in ("exe", "cwd")]
        return bool(run_as(user, are_at, opened, paths, seconds=USER_FILES_TIMEOUT))
    finally:
        for descriptor in opened:
            os.close(descriptor)


def are_at(opened: "list[int]", paths: "list[str]") -> bool:
    """Return whether files that are open lie at these paths."""
    for descriptor, path in zip(opened, paths):  # noqa: B905
        try:
            inside, outside = os.fstat(descriptor), os.stat(path)
        except FileNotFoundError:
            return False
        if (inside.st_dev, inside.st_ino) != (outside.st_dev, outside.st_ino):
            return False
    return True


def engine_of(pid: int) -> "str | None":
    """Return the container engine that a process runs under, None when it shares the host's namespaces.

    Raises OSError.
    """
    other = separate_namespaces(pid)
    if not other or (other == ["mnt"] and shares_host_files(pid)):
        return None
    with open(f"/proc/{pid}/cgroup") as file:
        found = ENGINE.search(file.read())
    return found.group(0).lower() if found else f"namespaces of its own: {', '.join(other)}"


def version_status(process: "dict[str, Any]") -> "int | None":
    """Return the exit status of a process's program with `-V`, which only prints the version; None without an end."""
    try:
        started = relaunch(process, [process["arguments"][0], "-V"])
    except OSError:
        return None
    try:
        return started.wait(timeout=COMMAND_TIMEOUT)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
        return None


def recorded_pid(path: str) -> int:
    """Return the pid in the record of a watchdog, 0 for none. The acting user owns the path."""
    above, _, name = path.rpartition("/")
    try:
        directory = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        text = read_regular(directory, name, 32)[1].strip()
    except OSError:
        return 0
    finally:
        os.close(directory)
    return int(text) if re.match("[0-9]{1,10}$", text) else 0


def supervision_of(process: "dict[str, Any]", port: int) -> "dict[str, Any]":
    """Return the supervision of a discovered OBProxy, or the error in `problem`."""
    homes = [process["home"], os.path.dirname(os.path.dirname(process["exe"]))]
    try:
        return read_supervision(process["pid"], process["home"], homes, port)
    except OSError as problem:
        return {"problem": str(problem)}


def read_supervision(pid: int, home: str, homes: "list[str]", port: int) -> "dict[str, Any]":
    """Return watchdogs, parents, unit, container and crontabs of an OBProxy; raises OSError when it is gone."""
    return {
        "pid": pid,
        "watchdogs": watchdogs_of(homes, port),
        "parents": parents(pid, home),
        "unit": unit_of(pid),
        "engine": engine_of(pid),
        "jobs": cron_jobs_of(homes),
    }


def supervision(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Return the supervision of a process; raises OSError when it has ended.

    `wanted`: pid, home, homes (possible locations of its watchdog), sql_port.
    """
    pid = wanted["pid"]
    process = launch_state({"pid": pid, "started": start_time(pid)})
    # As a hot restart starts it. A program that needs LD_LIBRARY_PATH does not (docs/reference/obproxy.md 2.6).
    starts_without_environment = version_status(dict(process, environment={})) == 0
    return dict(
        read_supervision(pid, wanted["home"], wanted["homes"], wanted["sql_port"]),
        identity=identity(pid),
        ports=ports_of(pid),
        starts_without_environment=starts_without_environment,
        starts=starts_without_environment or version_status(process) not in (None, NO_LIBRARY),
    )


def main(wanted: "dict[str, Any]") -> None:
    """Print the result, or the problem, as one marked line."""
    signal.alarm(60)
    try:
        answer = supervision(wanted)
    except OSError as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
