"""Waits for an OBProxy that hands over to its successor after a hot restart.

Its parameter `hot_upgrade_exit_timeout` limits how long it serves its open connections. A role waits for that long, but
not longer than the time limit of its subtask.
"""

from collections.abc import Mapping
from typing import Protocol

from ansible.utils.display import Display

_MARGIN = 15.0  # seconds; the OBProxy checks its limit every few seconds
_REPORT_INTERVAL = 15.0  # seconds between two progress messages
_MICROSECONDS = 1_000_000
_DEFAULT = "30000000"
_LONGEST = 86400 * _MICROSECONDS  # the largest value that OBProxy accepts


class Host(Protocol):
    """Runs a program on the host."""

    def run_program(self, name: str, arguments: dict[str, object]) -> dict[str, object]:
        """Return the result of the program."""


def exit_limit(parameters: Mapping[str, str]) -> float | None:
    """Return the seconds after which a draining OBProxy exits, None when it has no limit."""
    value = parameters.get("hot_upgrade_exit_timeout") or _DEFAULT
    try:
        microseconds = int(value)
    except ValueError:
        microseconds = int(_DEFAULT)
    return None if microseconds < 0 else min(microseconds, _LONGEST) / _MICROSECONDS


def wait_until_drained(
    host: Host,
    process: Mapping[str, object],
    sql_port: int,
    parameters: Mapping[str, str],
    time_limit: float,
    used: float,
) -> str:
    """Wait until the process has exited, or the time limit is over, of which earlier waits have `used` some seconds.

    Return a message about the connections that are still open, or an empty text.
    """
    time_left = max(0.0, time_limit - used)
    limit = exit_limit(parameters)
    arguments = {"process": {key: process[key] for key in ("pid", "started")}, "sql_port": sql_port}
    timeout = time_left if limit is None else min(time_left, limit + _MARGIN)
    waited = 0.0
    while True:
        step = min(_REPORT_INTERVAL, timeout - waited)
        answer = host.run_program("drain", arguments | {"seconds": step})
        if answer["gone"]:
            return ""
        waited += step
        message = f"pid {process['pid']} still serves {answer['connections']} connections, {_time_left(limit, waited)}"
        if waited >= timeout:
            return message + (
                "" if timeout < time_left else f"; this subtask waits for that {time_limit:g} s at the most"
            )
        Display().display(message)


def _time_left(limit: float | None, waited: float) -> str:
    if limit is None:
        return "as long as they last (hot_upgrade_exit_timeout is -1)"
    return f"for {max(0.0, limit - waited):.0f} s at the most (hot_upgrade_exit_timeout)"
