"""The default database: a PostgreSQL of this service's own in the data directory, stopped with its last user.

Several processes may use one. Each holds a shared advisory lock on a file beside the data directory, which ends with
the process however that ends; the one that can have it alone is the last.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from service.model.errors import StartRefused
from service.store.postgres_server import PostgresServer, private_file

log = logging.getLogger(__name__)

CHECK_INTERVAL = 0.5  # seconds between two looks whether it still runs


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Start (or join) the PostgreSQL that lives in `directory`; gives its connection string.

    When it dies it is started again: nobody else would. Raises StartRefused.
    """
    directory = directory.resolve()
    server = PostgresServer(directory)
    with _without_libpq_variables(), closing(server), _open_lock_file(directory, "users") as users:
        with _exclusive_lock(directory):
            fcntl.flock(users, fcntl.LOCK_SH)
            server.start()
        stopped = threading.Event()
        watcher = threading.Thread(
            target=_restart_when_dead, args=(server, stopped), daemon=True, name="embedded-postgres"
        )
        watcher.start()
        try:
            yield server.url
        finally:
            stopped.set()
            watcher.join()
            with _exclusive_lock(directory):
                if _is_last_user(users):
                    server.stop()


@contextmanager
def _open_lock_file(directory: Path, name: str) -> Iterator[int]:
    descriptor = private_file(directory.with_name(f".{directory.name}.{name}"))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _exclusive_lock(directory: Path) -> Iterator[None]:
    """Let no other process start or stop it meanwhile."""
    with _open_lock_file(directory, "lock") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _is_last_user(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _without_libpq_variables() -> Iterator[None]:
    """Leave out PGOPTIONS, PGPORT, PGSERVICE and their like: they mean another database than this one."""
    former = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ.update(former)


def _restart_when_dead(server: PostgresServer, stopped: threading.Event) -> None:
    while not stopped.wait(CHECK_INTERVAL):
        with _exclusive_lock(server.directory):
            if server.is_running():
                continue
            log.warning("The embedded PostgreSQL has died; starting it again", extra={"action": "postgres_died"})
            try:
                server.start()
            except (StartRefused, OSError) as error:
                log.warning("It did not start: %s", error, extra={"action": "postgres_not_started"})
