"""Waits for an OBProxy that hands over to its successor after a hot restart.

Its own parameter `hot_upgrade_exit_timeout` says for how long it serves the connections that it has; nothing cuts them
earlier. A role waits for that, but no longer than its subtask may take.
"""

from collections.abc import Mapping
from typing import Protocol

from ansible.utils.display import Display

_MARGIN = 15.0  # seconds: its limit is looked at every few seconds
_SLICE = 15.0  # seconds between two lines that tell how far it is
_MICROSECONDS = 1_000_000
_DEFAULT = "30000000"


class Host(Protocol):
    """Runs a program on the host."""

    def on_host(self, name: str, arguments: dict[str, object]) -> dict[str, object]:
        """Return its answer."""


def exit_limit(parameters: Mapping[str, str]) -> float | None:
    """Return the seconds after which a draining OBProxy ends itself, None when it waits for its clients for ever."""
    value = parameters.get("hot_upgrade_exit_timeout") or _DEFAULT
    try:
        microseconds = int(value)
    except ValueError:
        microseconds = int(_DEFAULT)
    return None if microseconds < 0 else microseconds / _MICROSECONDS


def wait(host: Host, process: Mapping[str, object], sql_port: int, parameters: Mapping[str, str], most: float) -> str:
    """Wait until the process is gone, by its own limit, `most` seconds at the most; return a sentence about what is
    left then, nothing when it is gone."""
    limit = exit_limit(parameters)
    asked = {"process": {key: process[key] for key in ("pid", "started")}, "sql_port": sql_port}
    patience = most if limit is None else min(most, limit + _MARGIN)
    waited = 0.0
    while True:
        step = min(_SLICE, patience - waited)
        answer = host.on_host("drain", asked | {"seconds": step})
        if answer["gone"]:
            return ""
        waited += step
        told = f"pid {process['pid']} still serves {answer['connections']} connections, {_until(limit, waited)}"
        if waited >= patience:
            return told + ("" if patience < most else f"; this subtask waits for that {most:g} s at the most")
        Display().display(told)


def _until(limit: float | None, waited: float) -> str:
    if limit is None:
        return "as long as they last (hot_upgrade_exit_timeout is -1)"
    return f"for {max(0.0, limit - waited):.0f} s at the most (hot_upgrade_exit_timeout)"
