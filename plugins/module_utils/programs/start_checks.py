"""Part of host programs: checks an OBProxy after its start.

It listens on all ports, no second OBProxy is started, and its supervisor runs and watches it.
"""

import time

try:
    from .process_lifetime import start_time
    from .processes import proxies_in
    from .sockets import ports_of
    from .supervision import command_output, recorded_pid, watchdogs_of
    from .users import run_as, user_of
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WATCHDOG_INTERVAL = 2.5  # seconds, longer than the check interval of a watchdog
POLL_INTERVAL = 0.05  # seconds


def start_problems(pid: int, wanted: "dict[str, Any]", draining: "list[int]") -> "list[str]":
    """Return the problems of an OBProxy that answers, as messages.

    `wanted`: home, homes, sql_port, ports (where it must listen), supervisor {kind, unit}, seconds. `draining` are the
    former processes, which drain.
    """
    missing = wait_for_ports(pid, wanted["ports"], wanted["seconds"])
    if missing:
        return [missing]
    deadline = time.monotonic() + WATCHDOG_INTERVAL
    while time.monotonic() < deadline:
        others = [other for other in proxies_in(wanted["home"]) if other != pid and other not in draining]
        if others:
            return [f"beside pid {pid} another OBProxy was started in its home: pid {others[0]}"]
        time.sleep(POLL_INTERVAL)
    if start_time(pid) is None:
        return [f"pid {pid} has ended after its start"]
    return supervisor_problems(pid, wanted)


def wait_for_ports(pid: int, ports: "list[int]", seconds: float) -> str:
    """Wait until a process listens on these ports; return a message about the missing ones."""
    deadline = time.monotonic() + seconds
    while True:
        missing = sorted(set(ports) - set(ports_of(pid)))
        if not missing:
            return ""
        if start_time(pid) is None:
            return f"pid {pid} has ended after its start"
        if time.monotonic() > deadline:
            return f"pid {pid} does not listen at {', '.join(map(str, missing))}"
        time.sleep(POLL_INTERVAL)


def supervisor_problems(pid: int, wanted: "dict[str, Any]") -> "list[str]":
    """Return the problems of the supervisor, as messages."""
    kind = wanted["supervisor"]["kind"]
    if kind == "systemd":
        unit = wanted["supervisor"]["unit"]
        state = command_output(["systemctl", "show", unit, "-p", "ActiveState"]).strip()
        return [] if state == "ActiveState=active" else [f"its unit {unit} is not active ({state or 'no answer'})"]
    if kind not in ("obproxyd.sh", "obd"):
        return []
    mine = [one for one in watchdogs_of(wanted["homes"], wanted["sql_port"]) if one["kind"] == kind]
    if not mine:
        return [f"its watchdog ({kind}) has ended"]
    user = user_of({"pid": pid, "started": start_time(pid)})
    known = [run_as(user, recorded_pid, one["record"]) for one in mine if one["record"]]
    return [] if not known or pid in known else [f"its watchdog ({kind}) watches pid {known[0]} instead of {pid}"]
