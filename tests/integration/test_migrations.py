"""Migrations make the same database from every starting point, once, also when many processes start at once."""

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from service.store import migrations
from service.store.migrations import APPLICATION_NAME, migrate
from service.store.sql import MIGRATIONS, queries


async def columns(url: str) -> list[tuple[str, ...]]:
    query = (
        "SELECT table_name, column_name, data_type, column_default, is_nullable FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await (await connection.execute(query)).fetchall()


@pytest.fixture
async def empty_database_url(postgres: str) -> str:
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        await connection.execute("DROP DATABASE IF EXISTS empty WITH (FORCE)")
        await connection.execute("CREATE DATABASE empty")
    return psycopg.conninfo.make_conninfo(postgres, dbname="empty")


async def test_a_second_migration_changes_nothing(empty_database_url: str) -> None:
    assert "0001_takeover.sql" in await migrate(empty_database_url)
    before = await columns(empty_database_url)

    assert await migrate(empty_database_url) == []
    assert await columns(empty_database_url) == before


async def test_one_of_many_simultaneous_processes_migrates(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(5)))

    assert sorted(bool(names) for names in applied) == [False] * 4 + [True]


async def test_a_queue_that_is_one_version_behind_gets_the_missing_file(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await migrate(empty_database_url)
    for file in Path(SchemaManager.get_migrations_path()).glob("*.sql"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "99.00.00_01_pre_next.sql").write_text("CREATE TABLE procrastinate_next (id bigint)")
    monkeypatch.setattr(SchemaManager, "get_migrations_path", staticmethod(lambda: str(tmp_path)))

    assert await migrate(empty_database_url) == ["procrastinate/99.00.00_01_pre_next.sql"]
    assert ("procrastinate_next", "id") in [row[:2] for row in await columns(empty_database_url)]


async def test_sessions_of_the_previous_version_are_ended_but_not_those_of_migrations(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await migrate(empty_database_url)
    for file in MIGRATIONS.glob("*.sql"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "9999_next.sql").write_text("ALTER TABLE task_instance ADD COLUMN next bigint")
    monkeypatch.setattr(migrations, "MIGRATIONS", tmp_path)
    async with await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as session:
        await session.execute("SELECT * FROM task_instance", prepare=True)
        async with (
            await psycopg.AsyncConnection.connect(
                empty_database_url, application_name=migrations.APPLICATION_NAME
            ) as about_to_migrate,
            about_to_migrate.transaction(),
        ):
            await about_to_migrate.execute("SELECT 1")

            applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(5)))

        assert sorted(applied) == [[]] * 4 + [["9999_next.sql"]]
        with pytest.raises(psycopg.OperationalError):  # only once: "cached plan must not change result type"
            await session.execute("SELECT * FROM task_instance", prepare=True)


async def test_a_failed_migration_leaves_no_change(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good (id bigint)")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE bad (id nosuchtype)")
    monkeypatch.setattr(migrations, "MIGRATIONS", tmp_path)

    with pytest.raises(psycopg.errors.UndefinedObject):
        await migrate(empty_database_url)

    assert await columns(empty_database_url) == []


def test_file_names_carry_their_order() -> None:
    names = [file.name for file in MIGRATIONS.glob("*.sql")]
    assert all(re.fullmatch(r"\d{4}_[a-z_]+\.sql", name) for name in names)
    assert len({name[:4] for name in names}) == len(names)


@pytest.mark.parametrize("name", sorted(file.name for file in MIGRATIONS.glob("*.sql") if file.name > "0009"))
def test_migrations_only_add(name: str) -> None:
    """Processes of the version before go on with the schema of this one."""
    text = re.sub(r"--.*", "", (MIGRATIONS / name).read_text(encoding="utf-8"))

    assert not re.findall(r"\b(?:DROP|RENAME|SET NOT NULL|TYPE \w+ USING)\b", text)
    for column in re.findall(r"ADD COLUMN[^,;]*", text):
        assert "NOT NULL" not in column or "DEFAULT" in column, column


async def test_a_deadlock_with_the_previous_version_does_not_end_the_migration(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Retention deletes task instances, then requests; an index locks both tables against changes."""
    await migrate(empty_database_url)
    (tmp_path / "9999_next.sql").write_text(
        "CREATE INDEX next_request ON request (id); CREATE INDEX next_task ON task_instance (id);"
    )
    monkeypatch.setattr(migrations, "MIGRATIONS", tmp_path)
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'task_instance'::regclass AND NOT granted"
    async with (
        await psycopg.AsyncConnection.connect(empty_database_url, application_name=APPLICATION_NAME) as retention,
        await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as observer,
    ):
        await retention.execute("SET deadlock_timeout = '10s'")  # so that the migration notices the deadlock
        await retention.execute("DELETE FROM task_instance")
        migrating = asyncio.ensure_future(migrate(empty_database_url))
        while await (await observer.execute(waiting)).fetchone() == (0,):
            await asyncio.sleep(0.01)
        with suppress(psycopg.errors.DeadlockDetected):  # on a busy machine, retention notices it
            await retention.execute("DELETE FROM request")
        await retention.rollback()

        assert await migrating == ["9999_next.sql"]


async def test_every_query_is_valid_for_the_schema(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for text in queries().values():
            if re.search(r"^(LISTEN|LOCK|SET LOCAL)\b", text, re.MULTILINE):  # cannot be prepared
                await connection.execute(text.encode())
                continue
            numbered = psycopg.sql.SQL("PREPARE q AS ") + psycopg.sql.SQL(_without_names(text))
            await connection.execute(numbered)
            await connection.execute("DEALLOCATE q")


def _without_names(query: str) -> str:
    """Return the query with PostgreSQL's own numbered parameters in place of the driver's named ones."""
    names: dict[str, str] = {}
    for piece in query.split("%(")[1:]:
        name = piece.split(")s")[0]
        names.setdefault(name, f"${len(names) + 1}")
    for name, number in names.items():
        query = query.replace(f"%({name})s", number)
    return query.rstrip(";")
