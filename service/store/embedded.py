"""The embedded PostgreSQL, the default database: started by its first user process, stopped by its last.

Each user process holds a shared advisory lock on a file beside the data directory. The kernel releases it when the
process ends. A process that gets the lock exclusively is the last user.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from service.model.errors import StartFailed
from service.store.postgres_server import PostgresServer, private_file

log = logging.getLogger(__name__)

CHECK_INTERVAL = 0.5  # seconds between two checks that it runs


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Start or share the PostgreSQL of a data directory; yield its connection string.

    A thread restarts the server when it dies. Raise StartFailed when the server does not start.
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
    """Hold the lock that serialises the start and stop of the server between processes."""
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
    """Remove the libpq variables (PGOPTIONS, PGPORT, PGSERVICE …), which are meant for another database."""
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
            except (StartFailed, OSError) as error:
                log.warning(
                    "The embedded PostgreSQL did not start: %s", error, extra={"action": "postgres_not_started"}
                )
