"""Users and what belongs to them in SQL: each query concerns only its own user, key, session or counter."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from service.store.database import execute, fetch
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.named_queries import change, read, rows, write
from tests.integration.users import ADMIN

DAY = timedelta(days=1)
KEYS = {"B" * 16: "ann", "A" * 16: "ann", "C" * 16: "ann", "D" * 16: "bob"}  # in the order of their list


@pytest.fixture
async def users(resources: Resources) -> dict[str, int]:
    """Two users and their access keys, of which the first one is the oldest; the ids of the users."""
    ids = {}
    for name in ("ann", "bob"):
        (row,) = await read(resources, "insert_user", name=name, password_hash="x", roles=["TASK_VIEWER"])
        ids[name] = row["id"]
    for key, name in reversed(KEYS.items()):
        await write(resources, "insert_access_key", id=key, user_id=ids[name], ciphertext=key.encode())
        age = DAY if key.startswith("B") else timedelta()
        await change(resources, "UPDATE access_key SET create_time = %s WHERE id = %s", datetime(2026, 1, 2) - age, key)
    return ids


async def values(resources: Resources, table: str, column: str, key: str = "id") -> list[Any]:
    return [row[column] for row in await rows(resources, table, key)]


async def test_a_user_is_found_and_changed_by_name(resources: Resources, users: dict[str, int]) -> None:
    found = await read(resources, "user_by_name", name="bob")
    assert [row["id"] for row in found] == [users["bob"]]
    assert [row["name"] for row in await read(resources, "users")] == ["ann", "bob"]

    await write(resources, "set_user_password", name="bob", password_hash="y")
    await write(resources, "set_user_enabled", name="bob", enabled=False)
    assert await values(resources, "user_account", "password_hash") == ["x", "y"]
    assert await values(resources, "user_account", "enabled") == [True, False]


async def test_a_locked_user_locks_no_other(resources: Resources, users: dict[str, int]) -> None:
    async with resources.database.transaction() as holder:
        await execute(holder, "lock_user", name="ann")
        async with resources.database.transaction() as other:
            await other.execute("SET LOCAL lock_timeout = '100ms'")
            assert await fetch(other, "lock_user", name="bob") == [{"id": users["bob"]}]
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await execute(other, "lock_user", name="ann")


async def test_access_keys_belong_to_their_users(resources: Resources, users: dict[str, int]) -> None:
    async def usable() -> list[str]:
        found = [await read(resources, "enabled_access_key", id=key) for key in KEYS]
        assert all(row["name"] == KEYS[bytes(row["ciphertext"]).decode()] for keys in found for row in keys)
        return [bytes(row["ciphertext"]).decode() for keys in found for row in keys]

    listed = await read(resources, "access_keys")
    assert [(row["id"], row["user_name"]) for row in listed] == list(KEYS.items())
    assert [row["total"] for row in await read(resources, "count_access_keys", user_id=users["ann"])] == [3]

    first, second, third, fourth = KEYS
    assert await usable() == [*KEYS]
    await write(resources, "set_access_key_enabled", id=second, enabled=False)
    assert await usable() == [first, third, fourth]
    await write(resources, "set_user_enabled", name="ann", enabled=False)
    assert await usable() == [fourth]


async def test_failures_are_counted_by_kind_and_name(resources: Resources) -> None:
    async def record(kind: str, name: str) -> int:
        (row,) = await read(resources, "record_login_failure", kind=kind, name=name, blocked_for=DAY)
        return int(row["failures"])

    async def recent(kind: str, name: str, blocked_for: timedelta = DAY) -> list[int]:
        found = await read(resources, "recent_login_failures", kind=kind, name=name, blocked_for=blocked_for)
        return [row["failures"] for row in found]

    names = [("user", "a"), ("user", "b"), ("client", "a")]
    assert [await record(*name) for name in [names[0], names[0], names[0], names[1], names[1], names[2]]] == [
        *(1, 2, 3, 1, 2, 1)
    ]
    assert [await recent(*name) for name in names] == [[3], [2], [1]]
    await change(resources, "UPDATE login_failure SET last = now() - interval '1 hour' WHERE name = 'b'")
    assert await recent("user", "b", timedelta(minutes=59)) == []
    assert await recent("user", "b", timedelta(minutes=61)) == [2]
    await write(resources, "delete_login_failures", name="a")
    assert [await recent(*name) for name in names] == [[], [2], [1]]
    await change(resources, "UPDATE login_failure SET last = now() - interval '25 hours' WHERE name = 'b'")
    await write(resources, "delete_old_login_failures")
    assert await values(resources, "login_failure", "name", "name") == ["a"]
    await change(resources, "UPDATE login_failure SET last = now() - interval '25 hours'")
    assert await record("client", "a") == 1


async def test_audit_events_are_listed_by_user_and_the_newest_first(resources: Resources) -> None:
    call = {"client": "192.0.2.1", "method": "POST", "path": "/", "status": 0, "trace_id": ""}
    users: list[str | None] = ["ann", "bob", "ann", None, None]
    ids = [row["id"] for name in users for row in await read(resources, "insert_audit_event", user_name=name, **call)]
    assert len(set(ids)) in (4, 5), "calls without a user are one row a minute"

    async def listed(user_name: str | None, **page: int) -> list[int]:
        (counted,) = await read(resources, "count_audit_events", user_name=user_name)
        found = await read(resources, "audit_events", user_name=user_name, **({"size": 9, "offset": 0} | page))
        assert page or counted["total"] == len(found)
        return [row["id"] for row in found]

    newest_first = sorted(set(ids), reverse=True)
    assert await listed(None) == newest_first
    assert await listed("ann") == [ids[2], ids[0]]
    assert await listed(None, size=2, offset=1) == newest_first[1:3]
    await write(resources, "set_audit_event_status", id=ids[1], status=200)
    assert (await values(resources, "audit_event", "status"))[:3] == [0, 200, 0]


async def test_a_session_has_its_user_until_it_expires(resources: Resources, users: dict[str, int]) -> None:
    digests = {name: name.encode() for name in users}
    for name, user_id in users.items():
        await write(resources, "insert_session", digest=digests[name], user_id=user_id, hours=1)

    async def found() -> list[str]:
        sessions = [await read(resources, "user_of_session", digest=digest) for digest in digests.values()]
        return [row["name"] for session in sessions for row in session]

    assert await found() == ["ann", "bob"]
    await write(resources, "set_user_enabled", name="bob", enabled=False)
    assert await found() == ["ann"]
    await change(resources, "UPDATE session SET expires = now() WHERE digest = %s", digests["ann"])
    assert await found() == []
    await write(resources, "delete_sessions_of_user", name="ann")
    assert await values(resources, "session", "digest", "digest") == [b"bob"]
    await write(resources, "insert_session", digest=b"second", user_id=users["bob"], hours=1)
    await write(resources, "delete_session", digest=b"bob")
    assert await values(resources, "session", "digest", "digest") == [b"second"]


async def test_what_has_expired_is_deleted_unless_it_is_locked(resources: Resources, users: dict[str, int]) -> None:
    key, user_id = next(iter(KEYS)), users["ann"]
    expired = datetime.now(UTC) - 2 * DAY
    for digest in (b"free", b"locked"):
        await change(resources, "INSERT INTO session VALUES (%s, %s, now(), %s)", digest, user_id, expired)
        await change(resources, "INSERT INTO used_signature VALUES (%s, %s, %s)", key, digest, expired)
        await change(resources, "INSERT INTO login_failure VALUES ('user', %s, 1, %s)", digest.decode(), expired)
    async with resources.database.transaction() as holder, resources.database.transaction() as connection:
        for table, column in (("session", "digest"), ("used_signature", "digest"), ("login_failure", "name")):
            await holder.execute(f"SELECT FROM {table} WHERE {column} = 'locked' FOR UPDATE".encode())
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        for digest in (b"new", b"newer"):
            await execute(connection, "insert_session", digest=digest, user_id=user_id, hours=1)
            await execute(connection, "insert_used_signature", id=key, digest=digest, validity=DAY)
        await execute(connection, "delete_old_login_failures")
    for table in ("session", "used_signature"):
        assert await values(resources, table, "digest", "digest") == [b"locked", b"new", b"newer"]
    assert await values(resources, "login_failure", "name", "name") == ["locked"]


async def test_a_ciphertext_is_replaced_at_its_place(resources: Resources, users: dict[str, int]) -> None:
    hosts = [HostRequest(host_id=1, sql_port=2883)]
    ((task, _),) = await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")
    for name in ("a", "b"):
        await change(resources, "INSERT INTO task_secret VALUES (%s, %s, 'old')", task.id, name)
    for table, key in (("access_key", "B" * 16), ("task_secret", f"{task.id} a")):
        place = {"places": [f"{table} {key}"], "ciphertexts": [b"new"]}
        await write(resources, f"update_{table}_ciphertexts", **place)

    assert await values(resources, "access_key", "ciphertext") == [b"A" * 16, b"new", b"C" * 16, b"D" * 16]
    assert await values(resources, "task_secret", "ciphertext", "name") == [b"new", b"old"]
