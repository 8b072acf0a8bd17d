"""Migrates a database to the schema of this version: applies Procrastinate's migrations and ours in one transaction.

No migration library is used: Procrastinate's migrations come from its package, and both sets need one table of applied
migrations and one lock.
"""

from pathlib import Path
from typing import Any

from procrastinate.schema import SchemaManager
from psycopg import AsyncConnection, sql

from service.store.database_errors import retry_contention
from service.store.sql import MIGRATIONS

ADVISORY_LOCK = 7355608  # key of the advisory lock, the same in every process

CREATE_MIGRATION_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name text PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
)
"""


APPLICATION_NAME = "obproxy-takeover migrate"

# Sessions that migrate or have run no query yet are spared: they have no prepared statement.
TERMINATE_OTHER_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND backend_type = 'client backend' AND application_name <> %s AND query <> ''
"""


@retry_contention
async def migrate(url: str) -> list[str]:
    """Apply the missing migrations to the database at `url`; return their file names.

    Sessions of running processes of the previous version are terminated while the changed tables are locked. Those
    processes connect again. Their prepared statements would fail on every table that has a new column. A deadlock with
    one of their transactions ends either of the two, which is then repeated.
    """
    async with (
        await AsyncConnection.connect(url, autocommit=True, application_name=APPLICATION_NAME) as connection,
        connection.transaction(),
    ):
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        await connection.execute(CREATE_MIGRATION_TABLE)
        cursor = await connection.execute("SELECT name FROM schema_migration")
        done = {name for (name,) in await cursor.fetchall()}
        applied = [*await _migrate_queue(connection, done), *await _migrate_own(connection, done)]
        for name in applied:
            await connection.execute("INSERT INTO schema_migration (name) VALUES (%s)", (name,))
        if done and applied:
            await connection.execute(TERMINATE_OTHER_SESSIONS, (APPLICATION_NAME,))
    return applied


async def _migrate_queue(connection: AsyncConnection[Any], done: set[str]) -> list[str]:
    files = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    missing = [file for file in files if _queue_migration_name(file) not in done]
    if len(missing) == len(files):
        await connection.execute(sql.SQL(SchemaManager.get_schema()))
    else:
        for file in missing:
            await _run(connection, file)
    return [_queue_migration_name(file) for file in missing]


async def _migrate_own(connection: AsyncConnection[Any], done: set[str]) -> list[str]:
    missing = [file for file in sorted(MIGRATIONS.glob("*.sql")) if file.name not in done]
    for file in missing:
        await _run(connection, file)
    return [file.name for file in missing]


async def _run(connection: AsyncConnection[Any], file: Path) -> None:
    await connection.execute(file.read_text(encoding="utf-8").encode())


def _queue_migration_name(file: Path) -> str:
    return f"procrastinate/{file.name}"
