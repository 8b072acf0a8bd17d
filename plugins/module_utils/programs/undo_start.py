"""Runs on the host: ends an OBProxy that a takeover has started, and removes what its first start has made.

Everything that runs in its home is the takeover's: the watchdog that it launched, and all that this has started since.
"""

# ruff: noqa: PTH108, PTH112, PTH114

import json
import os
import shutil
import signal
import time

try:
    from .files import exists
    from .process_lifetime import terminate
    from .processes import proxies_in
    from .supervision import watchdogs_of
    from .users import run_as, user_named
except ImportError:  # on the host there is no package, and the names are there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
ROUNDS = 5


def terminate_all(home: str, port: int, seconds: int) -> "list[int]":
    """End the watchdogs of a home, then its OBProxies; return the pids. A watchdog that ends may just have started one
    more, so it looks again until nothing is there."""
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
    """Return what runs in a home: its watchdogs and OBProxies."""
    return [one["pid"] for one in watchdogs_of([home], port)] + proxies_in(home)


def there(paths: "list[str]") -> "list[str]":
    """Return those of the paths at which something is; raises OSError."""
    return [path for path in paths if exists(path)]


def remove(paths: "list[str]") -> "list[str]":
    """Remove files and directories, as the user who can change them; return what stays."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            os.unlink(path)
    return [path for path in paths if os.path.lexists(path)]


def undo_start(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """`wanted`: home, owner, sql_port, made (paths), check, seconds. The answer: ended (pids), removed (paths)."""
    user = user_named(wanted["owner"]) if wanted["made"] else None
    made = run_as(user, there, wanted["made"]) if user else []
    if wanted["check"]:
        return {"ended": running(wanted["home"], wanted["sql_port"]), "removed": made}
    ended = terminate_all(wanted["home"], wanted["sql_port"], wanted["seconds"])
    left = running(wanted["home"], wanted["sql_port"])
    if left:
        return {"problem": f"still there after SIGKILL: pid {', '.join(map(str, left))}"}
    stays = run_as(user, remove, made) if user and made else []
    if stays:
        return {"problem": f"{wanted['owner']} could not remove {', '.join(stays)}"}
    return {"ended": ended, "removed": made}


def main(wanted: "dict[str, Any]") -> None:
    """Print the outcome as one marked line."""
    signal.alarm(wanted["seconds"] * 8)
    try:
        answer = undo_start(wanted)
    except OSError as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
