"""Host program: reads the supervision of an OBProxy: watchdogs, parents, systemd unit and container.

It changes nothing. `supervisors.py` on the controller evaluates the result. Other programs use its functions.
"""

# ruff: noqa: PTH112, PTH115, PTH116, PTH118, PTH119, PTH120, PTH123, PTH208

import json
import os
import re
import signal
import stat
import subprocess

try:
    from .process_lifetime import start_time
    from .processes import NAMESPACES, comm_of, home_of_process, identity, launch_state, parent_of, relaunch, strings_of
    from .sockets import ports_of
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
WATCHDOG = "obproxyd.sh"
UNIT = re.compile(r"/([^/\n]+\.service)(?:/|$)", re.MULTILINE)
ENGINE = re.compile(r"docker|libpod|containerd|kubepods|crio|lxc", re.IGNORECASE)
CRONTABS = ("/etc/crontab", "/etc/cron.d", "/var/spool/cron", "/var/spool/cron/crontabs", "/var/spool/cron/tabs")
CRON_JOB = re.compile(r"\bobproxyd\.sh\b|\bobproxy[\w-]*\.(?:sh|py|pl)\b|\b(?:pgrep|pidof|ps)\b.*\bobproxy\b")
COMMAND_TIMEOUT = 10  # seconds for a command that only prints


def watchdog(pid: int, homes: "list[str]", port: int) -> "dict[str, Any] | None":
    """Return the data of a watchdog of the OBProxy with this home and port, None for others; raises OSError.

    The platform's script has `-c checkalive` and lies in the home's bin; the deployer's (obd) gets home, address and
    port as arguments and keeps the pid that it watches in the home's run.
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
    try:
        ended = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/"
        )
    except OSError:
        return ""
    try:
        text = ended.communicate(timeout=COMMAND_TIMEOUT)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        ended.kill()
        ended.communicate()
        return ""
    return text if ended.returncode == 0 else ""


def unit_of(pid: int) -> "dict[str, Any] | None":
    """Return the systemd unit whose control group a process is in, None when there is none; raises OSError."""
    with open(f"/proc/{pid}/cgroup") as file:
        names = UNIT.findall(file.read())
    if not names:
        return None
    shown = command_output(["systemctl", "show", names[-1], "-p", "MainPID", "-p", "ExecStart"])
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return {"name": names[-1], "main_pid": int(values.get("MainPID") or 0), "starts": values.get("ExecStart", "")}


def separate_namespaces(pid: int) -> "list[str]":
    """Return the namespaces of a process that differ from this program's; raises OSError."""
    return [
        name for name in NAMESPACES if os.readlink(f"/proc/self/ns/{name}") != os.readlink(f"/proc/{pid}/ns/{name}")
    ]


def shares_host_files(pid: int) -> bool:
    """Return whether a process's executable and directory are the host's files of that name.

    A systemd unit with PrivateTmp has a mount namespace of its own and the host's files all the same.
    """
    for name in ("exe", "cwd"):
        try:
            inside, outside = os.stat(f"/proc/{pid}/{name}"), os.stat(os.readlink(f"/proc/{pid}/{name}"))
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


def starts_without_environment(pid: int) -> bool:
    """Return whether its program starts without an environment, as a hot restart starts it.

    A program that needs LD_LIBRARY_PATH does not (docs/reference/obproxy.md 2.6). `-V` only prints the version.
    """
    process = dict(launch_state(pid), environment={})
    try:
        return relaunch(process, [process["arguments"][0], "-V"]).wait(timeout=COMMAND_TIMEOUT) == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def read_text(path: str, limit: int = 64 * 1024) -> str:
    """Return the text of a regular file, empty for anything else; symbolic links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, limit).decode("utf-8", "replace") if is_regular else ""
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def recorded_pid(path: str) -> int:
    """Return the pid in a watchdog's record, 0 when there is none."""
    text = read_text(path, 32).strip()
    return int(text) if text.isdigit() else 0


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


def cron_jobs_of(homes: "list[str]") -> "list[dict[str, str]]":
    """Return the crontab lines that start or check an OBProxy in one of these homes."""
    found = []
    for place in CRONTABS:
        paths = [os.path.join(place, name) for name in sorted(os.listdir(place))] if os.path.isdir(place) else [place]
        for path in paths:
            text = read_text(path)
            if "obproxy" in text or any(home in text for home in homes):
                lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
                found += [{"file": path, "line": line[:200]} for line in lines if starts_obproxy(line, homes)]
    return found[:20]


def starts_obproxy(line: str, homes: "list[str]") -> bool:
    """Return whether a crontab line runs a program in one of the homes, or one named after OBProxy."""
    return any(home + "/bin/" in line or home + "/obproxyd.sh" in line for home in homes) or bool(CRON_JOB.search(line))


def supervision(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Return the supervision of a process; raises OSError when it has ended.

    `wanted`: pid, home, homes (possible locations of its watchdog), sql_port.
    """
    pid = wanted["pid"]
    return dict(
        read_supervision(pid, wanted["home"], wanted["homes"], wanted["sql_port"]),
        identity=identity(pid),
        ports=ports_of(pid),
        starts_without_environment=starts_without_environment(pid),
    )


def main(wanted: "dict[str, Any]") -> None:
    """Print the result, or the problem, as one marked line."""
    signal.alarm(60)
    try:
        answer = supervision(wanted)
    except OSError as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
