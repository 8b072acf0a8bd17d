"""Runs on the host: waits for an OBProxy that hands over to its successor, and ends nothing."""

import json
import signal
import time

try:
    from .process_lifetime import start_time
    from .sockets import connections_of
except ImportError:  # on the host there is no package, and the names are there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "


def drain(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """`wanted`: process {pid, started}, sql_port, seconds. The answer: gone, connections."""
    deadline = time.monotonic() + wanted["seconds"]
    pid = wanted["process"]["pid"]
    while start_time(pid) == wanted["process"]["started"]:
        if time.monotonic() > deadline:
            return {"gone": False, "connections": connections_of(pid, wanted["sql_port"])}
        time.sleep(0.1)
    return {"gone": True, "connections": 0}


def main(wanted: "dict[str, Any]") -> None:
    """Print the answer as one marked line."""
    signal.alarm(int(wanted["seconds"]) + 60)
    print(MARKER + json.dumps(drain(wanted)))
