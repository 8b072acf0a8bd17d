"""Named queries and other statements, each in a transaction of its own, and the rows that they read and write."""

import asyncio
from typing import Any

from psycopg.sql import SQL, Identifier, Placeholder

from service.store.database import Connection, execute, fetch
from service.tasks.resources import Resources

Rows = list[dict[str, Any]]


async def change(resources: Resources, statement: str, *values: Any, **named: Any) -> None:
    """Execute a statement."""
    async with resources.database.transaction() as connection:
        await connection.execute(statement.encode(), named or values)


async def write(resources: Resources, query: str, **values: Any) -> None:
    """Execute a named query."""
    async with resources.database.transaction() as connection:
        await execute(connection, query, **values)


async def read(resources: Resources, query: str, **values: Any) -> Rows:
    """Return the rows of a named query."""
    async with resources.database.transaction() as connection:
        return await fetch(connection, query, **values)


async def rows(resources: Resources, table: str, key: str = "id") -> Rows:
    """Return the rows of a table in the order of a key."""
    async with resources.database.autocommit() as connection:
        query = SQL("SELECT * FROM {} ORDER BY {}").format(Identifier(table), Identifier(key))
        return await (await connection.execute(query)).fetchall()


async def wait_for_lock(watching: Connection, waiting: asyncio.Task[Any]) -> None:
    """Wait until a task waits for a lock of the database, the only one that does; fail if it has ended."""
    query = b"SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not await (await watching.execute(query)).fetchall():
        assert not waiting.done(), "it does not wait"
        await asyncio.sleep(0.01)


async def insert_server(resources: Resources, host_id: int, sql_port: int = 2883, **columns: Any) -> int:
    """Insert a RUNNING OBProxy server, or one with other values of some columns; return its id."""
    values = {
        **{"cluster_id": 1, "cluster_name": "test", "host_id": host_id, "host_name": f"odp-{host_id}"},
        **{"ip": f"192.0.2.{host_id}", "sql_port": sql_port, "status": "RUNNING", "operate_status": "NORMAL"},
        **columns,
    }
    query = SQL("INSERT INTO obproxy_server ({}) VALUES ({}) RETURNING id").format(
        SQL(", ").join(map(Identifier, values)), SQL(", ").join(map(Placeholder, values))
    )
    async with resources.database.transaction() as connection:
        (row,) = await (await connection.execute(query, values)).fetchall()
    return int(row["id"])
