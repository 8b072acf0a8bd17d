"""Host program: restarts an OBProxy, and restores its former values if the new process does not start.

The new process has the same program, directory, user, environment and limits. It gets no options, so that it reads the
stored configuration (docs/reference/obproxy.md 2.5). The platform's watchdogs are stopped first and started again
afterwards: a running watchdog starts a second OBProxy, and a new one overwrites the stored values (traps 14, 15). The
deployer's watchdog and a systemd unit start the OBProxy themselves.
"""

import json
import signal
import time

try:
    from .files import ParentDirectory
    from .process_lifetime import start_time, terminate
    from .processes import identity, launch_state, parent_of, proxies_in, relaunch
    from .sockets import answering_process, listens
    from .start import Problem
    from .start_checks import POLL_INTERVAL, start_problems
    from .supervision import command_output, run_command, watchdogs_of
    from .users import USER_FILES_TIMEOUT, run_as
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
START_GRACE = 3.0  # seconds until a started process must be visible
STOP_TIMEOUT = 30  # seconds; an OBProxy exits within a second of SIGTERM (docs/reference/obproxy.md 2.6)
LEAST_START = 30  # seconds for the second start of an undo, if the first one took longer than usual
PORTS_TIMEOUT = 30  # seconds for the other ports of an OBProxy that answers at its SQL port
# Seconds of a restart and its undo besides two starts: three stops, the ports, and the supervisor's commands.
BESIDES_STARTS = 200


def is_unchanged(process: "dict[str, Any]") -> bool:
    """Return whether the discovered process still runs."""
    return bool(start_time(process["pid"]) == process["started"])


def children_of(pid: int, home: str) -> "list[int]":
    """Return the OBProxies that a hot restart of this process has started."""
    found = []
    for other in proxies_in(home):
        try:
            if parent_of(other) == pid:
                found.append(other)
        except OSError:
            continue
    return found


def answering_in_home(home: str, port: int) -> "int | None":
    """Return the OBProxy in this home that answers at the port."""
    return answering_process(port, proxies_in(home), START_GRACE)


def wait_until_up(wanted: "dict[str, Any]", besides: "tuple[int, ...]" = ()) -> "int | None":
    """Return the OBProxy that answers in time, except those in `besides`; None at once when none runs."""
    begun = time.monotonic()
    while time.monotonic() < begun + wanted["seconds"]:
        pid = answering_in_home(wanted["home"], wanted["sql_port"])
        if pid is not None and pid not in besides:
            return pid
        if not proxies_in(wanted["home"]) and time.monotonic() > begun + START_GRACE:
            return None
        time.sleep(POLL_INTERVAL)
    return None


def stop_all(wanted: "dict[str, Any]") -> None:
    """Terminate the OBProxies of this home and wait until the port is free; raises Problem."""
    deadline = time.monotonic() + STOP_TIMEOUT
    for pid in proxies_in(wanted["home"]):
        if not terminate(pid, max(START_GRACE, deadline - time.monotonic())):
            raise Problem(f"pid {pid} still runs after SIGKILL")
    while listens(wanted["sql_port"]):
        if time.monotonic() > deadline:
            raise Problem(f"port {wanted['sql_port']} is still in use after the OBProxy has ended")
        time.sleep(POLL_INTERVAL)


def cold_restart(process: "dict[str, Any]", wanted: "dict[str, Any]", options: "dict[str, str]") -> "int | None":
    """Stop and start the OBProxy; return the new pid."""
    stop_all(wanted)
    arguments = [process["arguments"][0], "-p", str(wanted["sql_port"])]
    arguments += ["-n", wanted["app_name"]] if wanted["app_name"] else []
    arguments += ["-o", ",".join(f"{key}={value}" for key, value in sorted(options.items()))] if options else []
    relaunch(process, arguments)
    return wait_until_up(wanted)


def wait_for_hot_restart(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Wait for the outcome of a hot restart that was requested by SQL; stop no process.

    It has succeeded when a new process answers; the old one may drain for a long time. It has failed (`kept`) when the
    new process has ended and the old one answers.
    """
    former, seen, begun = wanted["process"], False, time.monotonic()
    while True:
        pid = answering_in_home(wanted["home"], wanted["sql_port"])
        if pid is not None and pid != former["pid"]:
            return {"how": "hot", "pid": pid}
        successors = children_of(former["pid"], wanted["home"])
        seen = seen or bool(successors)
        passed = time.monotonic() - begun
        if pid == former["pid"] and not successors and (seen or passed > wanted["order_seconds"]):
            return {"how": "kept", "pid": pid}
        if not is_unchanged(former) and not proxies_in(wanted["home"]) and passed > START_GRACE:
            return {"how": "down"}
        if passed > wanted["order_seconds"] + wanted["seconds"]:
            return {"how": "kept" if pid == former["pid"] else "stuck"}
        time.sleep(POLL_INTERVAL)


def restart_by_supervisor(wanted: "dict[str, Any]") -> "int | None":
    """Let the supervisor restart it; return the new pid. Raises Problem when it does not even try."""
    former = wanted["process"]["pid"]
    if wanted["supervisor"]["kind"] == "systemd":
        restarting = ["systemctl", "--no-block", "restart", wanted["supervisor"]["unit"]]
        if run_command(restarting)[0]:  # such as of a masked unit; without an answer, it may restart
            raise Problem(f"{' '.join(restarting)} has failed; pid {former} was not restarted")
    elif not terminate(former, STOP_TIMEOUT):
        raise Problem(f"pid {former} still runs after SIGKILL")
    return wait_until_up(wanted, (former,))


def restore_by_supervisor(process: "dict[str, Any]", wanted: "dict[str, Any]", watchdogs: "list[Any]") -> "int | None":
    """Start it once with its former values, which stores them, then by the supervisor; return the pid."""
    unit = wanted["supervisor"].get("unit")
    if unit:
        command_output(["systemctl", "stop", unit])
    for watchdog, _ in watchdogs:
        terminate(watchdog["pid"], STOP_TIMEOUT)
    begun = time.monotonic()
    pid = cold_restart(process, wanted, wanted["former"])
    if pid is None:
        return None
    time_left = begun + wanted["seconds"] - time.monotonic()  # both starts have one limit
    wanted = dict(wanted, seconds=max(LEAST_START, time_left))
    if unit:
        stop_all(wanted)
        command_output(["systemctl", "--no-block", "start", unit])
        return wait_until_up(wanted)
    for watchdog, seen in watchdogs:
        try:  # The watchdog terminates the process in its record, and starts its own.
            run_as(process["user"], record_pid, watchdog["record"], pid, seconds=USER_FILES_TIMEOUT)
        finally:
            relaunch(seen, seen["arguments"])
    return wait_until_up(wanted, (pid,))


def record_pid(path: str, pid: int) -> None:
    """Write a pid to the record of a watchdog; raises OSError."""
    with ParentDirectory(path) as place:
        place.write(f"{pid}\n", 0o644)


def restart_process(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Restart it with the method in `wanted`; `how` of the result is `cold`, `back` or `down`."""
    process = launch_state(wanted["process"])
    watchdogs = [(one, launch_state(one)) for one in watchdogs_of(wanted["homes"], wanted["sql_port"])]
    for one, seen in watchdogs:
        if seen["user"]["uid"] != process["user"]["uid"]:
            raise Problem(f"its watchdog with pid {one['pid']} belongs to another user than the OBProxy")
    if wanted["way"] == "supervisor":
        pid = restart_by_supervisor(wanted)
        if pid is not None:
            return {"how": "cold", "pid": pid}
        if not wanted["former"]:
            return {"how": "down", "pid": None}
        pid = restore_by_supervisor(process, wanted, watchdogs)
        return {"how": "down" if pid is None else "back", "pid": pid}
    for one, _ in watchdogs:
        terminate(one["pid"], STOP_TIMEOUT)
    try:
        pid = cold_restart(process, wanted, {})
        how = "cold"
        if pid is None and wanted["former"]:
            pid = cold_restart(process, wanted, wanted["former"])
            how = "back"
        return {"how": "down" if pid is None else how, "pid": pid}
    finally:
        for _, seen in watchdogs:
            relaunch(seen, seen["arguments"])


def restart(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Restart the OBProxy and return how (hot, cold, kept, back, down, stuck), pid and problems.

    `wanted`: process {pid, started}, identity, home, homes, way (hot, cold, supervisor), supervisor {kind, unit},
    sql_port, ports, app_name, former (values to restore), seconds, order_seconds.
    """
    if wanted["way"] == "hot":
        answer = wait_for_hot_restart(wanted)
    elif is_unchanged(wanted["process"]):
        answer = restart_process(wanted)
    else:
        raise Problem(f"the OBProxy with pid {wanted['process']['pid']} has ended")
    pid = answer.get("pid")
    if pid is None or answer["how"] == "kept":
        return answer
    now = identity(pid)
    was = wanted["identity"]
    problems = [f"its {key} is {now[key]}, it was {was[key]}" for key in was if now[key] != was[key]]
    settled = dict(wanted, seconds=min(wanted["seconds"], PORTS_TIMEOUT))
    return dict(answer, problems=problems or start_problems(pid, settled, [wanted["process"]["pid"]]))


def main(wanted: "dict[str, Any]") -> None:
    """Print the result or the problem as one marked line; continue when the connection is lost."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.alarm(int(wanted["seconds"] * 2 + BESIDES_STARTS + wanted["order_seconds"]))
    try:
        answer = restart(wanted)
    except (Problem, OSError) as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
