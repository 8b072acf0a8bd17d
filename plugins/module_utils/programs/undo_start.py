"""Host program: stops an OBProxy that a takeover has started, and removes the files of its first start.

All processes in its home are the takeover's: the watchdog that it started, and the watchdog's OBProxies.
"""

import json
import os
import signal
import subprocess
import time

try:
    from .files import exists
    from .process_lifetime import terminate
    from .processes import proxies_in
    from .supervision import watchdogs_of
    from .users import run_as, user_named
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
ROUNDS = 5
REMOVAL_TIMEOUT = 20


def terminate_all(home: str, port: int, seconds: int) -> "list[int]":
    """Terminate the watchdogs of a home, then its OBProxies; return the pids.

    It repeats the search, because a watchdog may start another OBProxy before it ends.
    """
    ended = []  # type: list[int]
    for _ in range(ROUNDS):
        pids = [one["pid"] for one in watchdogs_of([home], port)] or proxies_in(home)
        if not pids:
            break
        for pid in pids:
            terminate(pid, seconds)
        ended += pids
        time.sleep(0.1)
    return sorted(set(ended))


def running(home: str, port: int) -> "list[int]":
    """Return the pids of a home's watchdogs and OBProxies."""
    return [one["pid"] for one in watchdogs_of([home], port)] + proxies_in(home)


def there(paths: "list[str]") -> "list[str]":
    """Return the paths that exist; raises OSError."""
    return [path for path in paths if exists(path)]


def remove(paths: "list[str]") -> "list[str]":
    """Remove files and directories as their user; return the paths that still exist."""
    quiet = subprocess.DEVNULL
    program = ["rm", "-rf", "--one-file-system", "--", *paths]
    try:  # noqa: SIM105
        subprocess.call(program, stdin=quiet, stdout=quiet, stderr=quiet, cwd="/", timeout=REMOVAL_TIMEOUT)
    except subprocess.TimeoutExpired:
        pass  # the caller sees what still exists
    return [path for path in paths if os.path.lexists(path)]


def undo_start(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Stop and remove; return `ended` (pids) and `removed` (paths).

    `wanted`: home, owner, sql_port, made (paths), check, seconds.
    """
    user = user_named(wanted["owner"]) if wanted["made"] else None
    made = run_as(user, there, wanted["made"]) if user else []
    if wanted["check"]:
        return {"ended": running(wanted["home"], wanted["sql_port"]), "removed": made}
    ended = terminate_all(wanted["home"], wanted["sql_port"], wanted["seconds"])
    left = running(wanted["home"], wanted["sql_port"])
    if left:
        return {"problem": f"still running after SIGKILL: pid {', '.join(map(str, left))}"}
    stays = run_as(user, remove, made) if user and made else []
    if stays:
        return {"problem": f"{wanted['owner']} could not remove {', '.join(stays)}"}
    return {"ended": ended, "removed": made}


def main(wanted: "dict[str, Any]") -> None:
    """Print the result as one marked line."""
    signal.alarm(wanted["seconds"] * 8)
    try:
        answer = undo_start(wanted)
    except OSError as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
