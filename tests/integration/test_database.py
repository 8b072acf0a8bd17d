"""Connections of the pool: what a caller gets when its query ends early."""

import asyncio

import psycopg
import pytest

from service.store.database import Database
from service.tasks.resources import Resources
from tests.integration.command_line import DEADLINE

SLEEP = "SELECT pg_sleep(60)"
IS_SLEEPING = "SELECT pid FROM pg_stat_activity WHERE query = %s AND state = 'active'"


async def sleeping(database: Database) -> tuple[asyncio.Task[None], int]:
    """Return a task that waits for a query in autocommit mode, and the process of the database that executes it."""

    async def sleep() -> None:
        async with database.autocommit() as connection:
            await connection.execute(SLEEP)

    task = asyncio.create_task(sleep())
    async with asyncio.timeout(DEADLINE), database.autocommit() as connection:
        while not (rows := await (await connection.execute(IS_SLEEPING, (SLEEP,))).fetchall()):
            await asyncio.sleep(0.01)
    return task, rows[0]["pid"]


async def test_a_query_that_is_canceled_twice_ends_with_the_cancellation(resources: Resources) -> None:
    """As that of an event stream whose client has left; psycopg closes the connection then."""
    task, _ = await sleeping(resources.database)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_query_whose_connection_is_terminated_ends_with_the_reason(resources: Resources) -> None:
    task, pid = await sleeping(resources.database)
    async with resources.database.transaction() as connection:
        await connection.execute("SELECT pg_terminate_backend(%s)", (pid,))

    with pytest.raises(psycopg.errors.AdminShutdown):
        await task
