"""Retention removes old task instances, and keeps running ones and those with possible operations."""

import asyncio
from dataclasses import replace
from pathlib import Path

from psycopg import sql

from service.access import audit
from service.fleet import discoveries
from service.model.audit import AuditCall
from service.model.tasks import TaskInstance
from service.model.types import Page
from service.store.database import Connection
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from service.worker import retention
from tests.integration.users import ADMIN


async def submit(resources: Resources, host_id: int, *, sql_port: int = 2883, check: bool = False) -> TaskInstance:
    hosts = [HostRequest(host_id=host_id, sql_port=sql_port)]
    return (await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t", check=check))[0][0]


async def end(connection: Connection, task: TaskInstance, status: str, days: int) -> None:
    await connection.execute(
        "UPDATE task_instance SET status = %s, finish_time = now() - make_interval(days => %s) WHERE id = %s",
        (status, days, task.id),
    )
    await connection.execute("UPDATE obproxy_server SET status = 'TAKINGOVER'")
    await connection.execute(
        "INSERT INTO subtask_log (subtask_id, run_time, content) SELECT id, 1, 'said' FROM subtask_instance "
        "WHERE task_instance_id = %s LIMIT 1",
        (task.id,),
    )


async def left(resources: Resources) -> tuple[set[int], set[int]]:
    """Task instances that are left, and those of them that have logs."""
    async with resources.database.transaction() as connection:
        tasks = await (await connection.execute("SELECT id FROM task_instance")).fetchall()
        query = "SELECT DISTINCT task_instance_id AS id FROM subtask_log JOIN subtask_instance s ON s.id = subtask_id"
        logs = await (await connection.execute(query)).fetchall()
    return {row["id"] for row in tasks}, {row["id"] for row in logs}


async def test_old_task_instances_are_removed_and_those_with_operations_stay(resources: Resources) -> None:
    superseded = await submit(resources, 1)
    async with resources.database.transaction() as connection:
        await end(connection, superseded, "FAILED", 100)
    newest_failed = await submit(resources, 1)
    successful = await submit(resources, 2)
    running = await submit(resources, 3)
    async with resources.database.transaction() as connection:
        await end(connection, newest_failed, "FAILED", 100)
        await end(connection, successful, "SUCCESSFUL", 100)

    retain = resources.settings.model_copy(update={"retention_days_logs": 30, "retention_days_tasks": 90})
    await retention.apply(replace(resources, settings=retain))

    tasks, logs = await left(resources)
    assert tasks == {newest_failed.id, successful.id, running.id}
    assert logs == {newest_failed.id}


async def test_a_failure_that_can_be_resumed_stays_beside_newer_ones_of_its_host(resources: Resources) -> None:
    retain = resources.settings.model_copy(update={"retention_days_logs": 30, "retention_days_tasks": 90})
    ended = []
    for sql_port, check in ((2883, False), (2884, True), (2885, False), (2886, False), (2887, False), (2888, False)):
        ended.append(await submit(resources, 1, sql_port=sql_port, check=check))
        async with resources.database.transaction() as connection:
            await end(connection, ended[-1], "FAILED", 100)
    failed, failed_check, by_hand, released, successful, newest = (task.id for task in ended)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE task_instance SET type = 'EXTERNAL' WHERE id = %s", (by_hand,))
        await connection.execute("DELETE FROM obproxy_server WHERE sql_port = 2886")
        await connection.execute("UPDATE task_instance SET status = 'SUCCESSFUL' WHERE id = %s", (successful,))

    await retention.apply(replace(resources, settings=retain))

    kept = {failed, failed_check, newest}
    assert await left(resources) == (kept, kept), f"without {by_hand}, {released} and {successful}"


async def test_nothing_is_removed_by_default(resources: Resources) -> None:
    task = await submit(resources, 1)
    async with resources.database.transaction() as connection:
        await end(connection, task, "SUCCESSFUL", 10_000)

    await retention.apply(resources)

    assert await left(resources) == ({task.id}, {task.id})


async def test_old_audit_records_are_removed_after_their_setting(resources: Resources) -> None:
    def after(days: int) -> Resources:
        return replace(resources, settings=resources.settings.model_copy(update={"retention_days_audit": days}))

    call = AuditCall(user_name="anne", client="192.0.2.1", method="POST", path="/x", status=200, trace_id="")
    for days in (0, 6, 8):
        await audit.record(resources.database, call)
        async with resources.database.transaction() as connection:
            await connection.execute(
                "UPDATE audit_event SET time = now() - make_interval(days => %s) "
                "WHERE id = (SELECT max(id) FROM audit_event)",
                (days,),
            )

    await retention.apply(after(0))
    assert (await audit.events(resources.database, Page(), None))[1] == 3
    await retention.apply(after(7))
    assert (await audit.events(resources.database, Page(), None))[1] == 2


async def test_discoveries_of_hosts_that_left_the_inventory_are_removed(
    resources: Resources, inventory_file: Path
) -> None:
    async def discovered() -> list[int]:
        await retention.apply(resources)
        async with resources.database.autocommit() as connection:
            rows = await (await connection.execute("SELECT host_id FROM host_discovery ORDER BY host_id")).fetchall()
        return [row["host_id"] for row in rows]

    await discoveries.request(resources, [1, 2, 3], requester=ADMIN)
    async with resources.database.autocommit() as connection:
        await connection.execute("UPDATE host_discovery SET request_time = now() - interval '2 days' WHERE host_id < 3")
    assert await discovered() == [1, 2, 3]

    inventory_file.write_text("all: {hosts: [}")
    assert await discovered() == [1, 2, 3], "an unreadable inventory removes no host"
    inventory_file.write_text("all: {hosts: {odp-1: {ocp_host_id: 1}}}")
    assert await discovered() == [1, 3], "a script may leave a host out for some time"


async def test_the_age_of_a_task_instance_and_of_its_end_count(resources: Resources) -> None:
    tasks = []
    for days in (60, 10):
        tasks.append(await submit(resources, 1))
        async with resources.database.transaction() as connection:
            await end(connection, tasks[-1], "FAILED", days)
    newest, successful = await submit(resources, 1), await submit(resources, 2)
    async with resources.database.transaction() as connection:
        await end(connection, successful, "SUCCESSFUL", 10)

    retain = resources.settings.model_copy(update={"retention_days_logs": 30, "retention_days_tasks": 90})
    await retention.apply(replace(resources, settings=retain))

    assert await left(resources) == (
        {*(task.id for task in tasks), newest.id, successful.id},
        {tasks[1].id, successful.id},
    )


async def test_passwords_are_removed_when_no_operation_needs_them(resources: Resources) -> None:
    """The end of a takeover removes its own."""
    cases = [  # of what, status, hours since the end, check mode, is superseded
        ("takeover", "SUCCESSFUL", 48, None, False),
        ("failed takeover", "FAILED", 48, None, False),
        ("superseded takeover", "FAILED", 1, None, True),
        ("old passed check", "SUCCESSFUL", 25, "true", False),
        ("passed check", "SUCCESSFUL", 23, "true", False),
        ("failed check", "FAILED", 48, "true", False),
        ("superseded check", "FAILED", 1, "true", True),
    ]
    tasks = []
    for _ in cases:
        tasks.append(await submit(resources, 1))
        async with resources.database.transaction() as connection:
            await end(connection, tasks[-1], "FAILED", 0)
    newest = await submit(resources, 1)
    async with resources.database.transaction() as connection:
        await connection.execute("DELETE FROM task_secret")
        for task, (name, status, hours, mode, superseded) in zip(tasks, cases, strict=True):
            await connection.execute(
                "UPDATE task_instance SET status = %s, finish_time = now() - make_interval(hours => %s), "
                "context = jsonb_build_object('stringMap', jsonb_build_object('check_mode', %s::text)), "
                "superseded_by = %s WHERE id = %s",
                (status, hours, mode, newest.id if superseded else None, task.id),
            )
            await connection.execute("INSERT INTO task_secret VALUES (%s, %s, '')", (task.id, name))

    await retention.apply(resources)

    async with resources.database.autocommit() as connection:
        rows = await (await connection.execute("SELECT name FROM task_secret ORDER BY task_instance_id")).fetchall()
    assert [row["name"] for row in rows] == ["takeover", "failed takeover", "passed check", "failed check"]


OLD_ROWS = (
    "INSERT INTO request (workflow, cluster_id, cluster_name, creator, creator_id) VALUES ('w', 1, 'c', 'u', 1)",
    "INSERT INTO idempotency_key (creator, key, fingerprint, create_time) "
    "VALUES ('u', 'old', '', now() - interval '25 h')",
    "INSERT INTO host_discovery (host_id, request_time, requester) VALUES (99, now() - interval '400 days', 'u')",
)


async def test_requests_without_hosts_and_keys_of_the_day_before_are_removed(resources: Resources) -> None:
    await submit(resources, 1)
    async with resources.database.transaction() as connection:
        for statement in OLD_ROWS:
            await connection.execute(statement.encode())
        await connection.execute(
            "INSERT INTO idempotency_key (creator, key, fingerprint, create_time) "
            "VALUES ('u', 'young', '', now() - interval '23 h')"
        )
        await connection.execute(OLD_ROWS[0].encode())
        await connection.execute("UPDATE task_instance SET request_id = (SELECT max(id) FROM request)")

    settings = resources.settings.model_copy(update={"retention_days_tasks": 90})
    await retention.apply(replace(resources, settings=settings))

    async with resources.database.autocommit() as connection:
        keys = await (await connection.execute("SELECT key FROM idempotency_key")).fetchall()
        requests = await (await connection.execute("SELECT count(*) AS total FROM request")).fetchall()
    assert keys == [{"key": "young"}]
    assert requests == [{"total": 1}]


async def test_locked_rows_are_left_for_the_next_time(resources: Resources) -> None:
    old = await submit(resources, 1)
    async with resources.database.transaction() as connection:
        await end(connection, old, "SUCCESSFUL", 100)
        for statement in OLD_ROWS:
            await connection.execute(statement.encode())
    await submit(resources, 1)
    call = AuditCall(user_name="anne", client="192.0.2.1", method="POST", path="/x", status=200, trace_id="")
    await audit.record(resources.database, call)
    retain = {"retention_days_logs": 30, "retention_days_tasks": 90, "retention_days_audit": 1}
    settings = resources.settings.model_copy(update=retain)
    tables = ("task_instance", "request", "idempotency_key", "host_discovery", "audit_event")

    counts = [sql.SQL("SELECT count(*) AS total FROM {}").format(sql.Identifier(table)) for table in tables]

    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE audit_event SET time = now() - interval '9 days'")
    async with resources.database.transaction() as connection:
        for table in tables:
            await connection.execute(sql.SQL("SELECT FROM {} FOR UPDATE").format(sql.Identifier(table)))
        async with asyncio.timeout(60):
            await retention.apply(replace(resources, settings=settings))
        rows = [(await (await connection.execute(query)).fetchall())[0]["total"] for query in counts]

    assert dict(zip(tables, rows, strict=True)) == {
        **{"task_instance": 2, "request": 3, "idempotency_key": 1},
        **{"host_discovery": 1, "audit_event": 1},
    }
