"""Host program: finds the OBProxy of a home that answers at a port."""

import json
import signal

try:
    from .processes import proxies_in
    from .sockets import answering_process
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "


def main(wanted: "dict[str, Any]") -> None:
    """Print the pid or None as one marked line. `wanted`: home, sql_port."""
    signal.alarm(60)
    print(MARKER + json.dumps({"pid": answering_process(wanted["sql_port"], proxies_in(wanted["home"]), 10)}))
