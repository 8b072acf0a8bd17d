"""Connections of the pool when a query ends early, and what its caller gets."""

import asyncio

import psycopg
import pytest

from service.api import event_streams
from service.store.database import Database
from service.tasks.resources import Resources
from tests.integration.command_line import DEADLINE
from tests.integration.named_queries import wait_for_lock

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


async def test_an_event_stream_that_ends_during_a_query_closes_no_connection(resources: Resources) -> None:
    database = resources.database

    async def read() -> None:
        async with database.autocommit() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(1)")

    async with asyncio.timeout(DEADLINE):
        async with database.transaction() as holder, database.autocommit() as other:
            await holder.execute("SELECT pg_advisory_xact_lock(1)")
            stream = asyncio.create_task(event_streams._retry_while_unavailable(read))
            await wait_for_lock(other, stream)
            while not stream.done():  # as a task group does
                stream.cancel()
                await asyncio.sleep(0)
        while event_streams._readings:
            await asyncio.sleep(0.01)

    assert stream.cancelled()
    assert database.pool.get_stats().get("returns_bad", 0) == 0
