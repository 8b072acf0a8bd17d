"""Whether the database answers and can be written, cheaply enough for a check every few seconds.

A read-only database is found by its setting. A full disk is found by a write that fails: from then on each check
writes, until one succeeds. The check writes a temporary file and a message in the write-ahead log, and no row.
"""

import asyncio
from enum import StrEnum

import psycopg

from service.store.database import Database, execute, fetch
from service.store.database_errors import is_unwritable

TIMEOUT = 3.0  # seconds after which a database that does not answer counts as lost


class Problem(StrEnum):
    """The reason why requests cannot be answered."""

    LOST = "the database does not answer"
    READ_ONLY = "the database is read-only"
    FULL = "the database cannot be written"


async def find_problem(database: Database) -> Problem | None:
    """Return what keeps the database from answering or from being written; None when nothing does."""
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
