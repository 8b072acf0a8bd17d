"""Connection pool, transactions and named queries. SQL is in sql/*.sql only."""

import select
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import fields
from typing import Any, cast

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import AsyncRowFactory, DictRow, RowMaker, dict_row
from psycopg.types.enum import EnumInfo, register_enum
from psycopg_pool import AsyncConnectionPool

from service.model.fleet import ServerStatus
from service.model.tasks import Operation, SubtaskStatus, TaskStatus
from service.store.database_errors import is_unwritable
from service.store.migrations import migrate
from service.store.sql import queries

Connection = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]

ENUMS = {
    "task_status": TaskStatus,
    "subtask_status": SubtaskStatus,
    "operation": Operation,
    "server_status": ServerStatus,
}
CONNECTION_TIMEOUT = 5.0  # seconds to wait for a connection: longer than a restart of the server
RECONNECT_TIMEOUT = 2.0  # seconds; then the pool starts again with short retry delays, which double each time
POOL_SIZE = 20  # connections; a request or a batch of events holds one for a few milliseconds
OPEN_TIMEOUT = 30.0  # seconds to wait for the first connection


class Database:
    """The connection pool, and the two ways to use a connection of it."""

    def __init__(self, url: str, pool: Pool) -> None:
        self.url = url
        self.pool = pool
        self.write_failed = False  # a write has failed since the last successful readiness check

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Yield a connection in a transaction, which is committed at the end and rolled back on any exception."""
        with self._recording_write_failures():
            async with self.pool.connection() as connection, connection.transaction():
                yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Connection]:
        """Yield a connection in autocommit mode, which saves the two round trips of a transaction.

        For one statement, or for several that read: at isolation level READ COMMITTED, a transaction would not make
        their results consistent either.
        """
        with self._recording_write_failures():
            async with self.pool.connection() as connection:
                await connection.set_autocommit(True)
                try:
                    yield connection
                finally:
                    if not connection.closed:  # else this would replace the error, or the cancellation
                        await connection.set_autocommit(False)

    @contextmanager
    def _recording_write_failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.write_failed = self.write_failed or is_unwritable(error)
            raise


async def execute(connection: Connection, query: str, **values: object) -> AsyncCursor[DictRow]:
    """Run a named query."""
    return await connection.execute(queries()[query].encode(), values)


async def fetch(connection: Connection, query: str, **values: object) -> list[DictRow]:
    """Return all rows of a named query, as dicts."""
    return await (await execute(connection, query, **values)).fetchall()


async def fetch_unprepared(connection: Connection, query: str, **values: object) -> list[DictRow]:
    """Return all rows of a named query that is planned for these values, without a prepared statement."""
    return await (await connection.execute(queries()[query].encode(), values, prepare=False)).fetchall()


async def fetch_as[Row](connection: Connection, record: type[Row], query: str, **values: object) -> list[Row]:
    """Return all rows of a named query as instances of `record`, a dataclass.

    Unknown columns are ignored: during an upgrade, processes of this version read tables of the next one.
    """
    async with connection.cursor(row_factory=_known_columns(record)) as cursor:
        await cursor.execute(queries()[query].encode(), values)
        return await cursor.fetchall()


def _known_columns[Row](record: type[Row]) -> AsyncRowFactory[Row]:
    known = {field.name for field in fields(cast(Any, record))}

    def rows(cursor: AsyncCursor[Any]) -> RowMaker[Row]:
        names = [column.name for column in cursor.description or ()]
        if known.issuperset(names):
            return lambda values: record(**dict(zip(names, values, strict=True)))
        columns = [(number, name) for number, name in enumerate(names) if name in known]
        return lambda values: record(**{name: values[number] for number, name in columns})

    return rows


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Migrate the database at `url` if needed and open a pool on it."""
    await migrate(url)
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        infos = [await _enum_info(connection, name) for name in ENUMS]

    async def configure(connection: Connection) -> None:
        _register_enums(connection, infos)

    pool: Pool = AsyncConnectionPool(
        url,
        connection_class=Connection,
        kwargs={"row_factory": dict_row},
        configure=configure,
        check=_check_connection,
        min_size=1,
        max_size=POOL_SIZE,
        timeout=CONNECTION_TIMEOUT,
        reconnect_timeout=RECONNECT_TIMEOUT,
        open=False,
    )
    await pool.open(wait=True, timeout=OPEN_TIMEOUT)
    try:
        yield Database(url, pool)
    finally:
        await pool.close()


async def _check_connection(connection: Connection) -> None:
    """Raise when the connection is lost.

    A lost connection has a readable socket, so only then a query is sent. A query at each use of a connection would
    cost a round trip.
    """
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        await AsyncConnectionPool.check_connection(connection)


async def _enum_info(connection: AsyncConnection[Any], name: str) -> EnumInfo:
    info = await EnumInfo.fetch(connection, name)
    assert info is not None, f"the migrations create the type {name}"
    return info


def _register_enums(connection: Connection, infos: Iterable[EnumInfo]) -> None:
    for info in infos:
        register_enum(info, connection, ENUMS[info.name])
