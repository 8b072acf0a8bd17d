"""Retention removes old task instances, and keeps running ones and those with possible operations."""

from dataclasses import replace
from pathlib import Path

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


async def submit(resources: Resources, host_id: int) -> TaskInstance:
    hosts = [HostRequest(host_id=host_id, sql_port=2883)]
    return (await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t"))[0][0]


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
