"""Checks whether the database responds and can be written, cheaply enough for a check every few seconds.

A read-only database has a setting. A full disk shows in a failed write: after one, each check writes until it
succeeds. A check writes a temporary file and a message in the write-ahead log, but no row.
"""

import asyncio
from enum import StrEnum

import psycopg

from service.store.database import Database, execute, fetch
from service.store.database_errors import is_unwritable

TIMEOUT = 3.0  # seconds, then the database counts as lost


class Problem(StrEnum):
    """Reason why the service is not ready."""

    LOST = "the database does not answer"
    READ_ONLY = "the database is read-only"
    FULL = "the database cannot be written"


async def find_problem(database: Database) -> Problem | None:
    """Return why the database cannot be used or written; None when it is ready."""
    try:
        async with asyncio.timeout(TIMEOUT), database.transaction() as connection:
            (mode,) = await fetch(connection, "session_read_only")
            if mode["read_only"]:
                return Problem.READ_ONLY
            if database.write_failed:
                await execute(connection, "set_minimum_work_mem")
                await execute(connection, "write_temporary_file")
                await execute(connection, "write_wal_message")
    except (psycopg.Error, TimeoutError) as error:
        return Problem.FULL if is_unwritable(error) else Problem.LOST
    database.write_failed = False
    return None
