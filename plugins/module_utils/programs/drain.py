"""Host program: waits until an OBProxy has drained after a hot restart; stops no process."""

import json
import signal
import time

try:
    from .process_lifetime import start_time
    from .sockets import connections_of
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "


def drain(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Wait and return `gone` and `connections`. `wanted`: process {pid, started}, sql_port, seconds."""
    deadline = time.monotonic() + wanted["seconds"]
    pid = wanted["process"]["pid"]
    while start_time(pid) == wanted["process"]["started"]:
        if time.monotonic() > deadline:
            return {"gone": False, "connections": connections_of(pid, wanted["sql_port"])}
        time.sleep(0.1)
    return {"gone": True, "connections": 0}


def main(wanted: "dict[str, Any]") -> None:
    """Print the result as one marked line."""
    signal.alarm(int(wanted["seconds"]) + 60)
    print(MARKER + json.dumps(drain(wanted)))
