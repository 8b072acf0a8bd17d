"""Runs on the host: tells which OBProxy of a home answers at a port."""

import json
import signal

try:
    from .processes import proxies_in
    from .sockets import answering_process
except ImportError:  # on the host there is no package, and the names are there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "


def main(wanted: "dict[str, Any]") -> None:
    """`wanted`: home, sql_port. Print the pid, or None, as one marked line."""
    signal.alarm(60)
    print(MARKER + json.dumps({"pid": answering_process(wanted["sql_port"], proxies_in(wanted["home"]), 10)}))
