"""Runs and their leases: each query concerns only its own run, task instance and OBProxy cluster."""

from datetime import datetime
from typing import Any

import pytest

from service.store.database import execute, fetch
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.named_queries import change, read
from tests.integration.users import ADMIN

ENDED, FIRST, SECOND = (f"00000000-0000-0000-0000-00000000000{number}" for number in range(1, 4))


async def runs(resources: Resources) -> dict[str, dict[str, Any]]:
    async with resources.database.autocommit() as connection:
        rows = await (await connection.execute("SELECT *, ident::text AS ident FROM run")).fetchall()
    return {row["ident"]: row for row in rows}


async def renewed(resources: Resources) -> dict[str, datetime]:
    return {ident: row["renewed"] for ident, row in (await runs(resources)).items()}


@pytest.fixture
async def tasks(resources: Resources) -> list[int]:
    """Three task instances: the first one with a run that has ended and one that has not, the second one with a run."""
    hosts = [HostRequest(host_id=number, sql_port=2883) for number in (1, 2, 3)]
    ids = [task.id for task, _ in await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")]
    async with resources.database.transaction() as connection:
        await execute(connection, "insert_run", ident=ENDED, task_id=ids[0], executor="x")
        await execute(connection, "finish_runs_of_task", task_id=ids[0])
        for ident, task_id in ((FIRST, ids[0]), (SECOND, ids[1])):
            await execute(connection, "insert_run", ident=ident, task_id=task_id, executor="x")
    for seconds, ident in enumerate((ENDED, FIRST, SECOND), 9):
        await change(
            resources, "UPDATE run SET renewed = now() - make_interval(secs => %s) WHERE ident = %s", seconds, ident
        )
    return ids


async def test_the_unfinished_run_of_a_task_instance_is_its_own(resources: Resources, tasks: list[int]) -> None:
    found = [await read(resources, "unfinished_runs_of_task", task_id=task_id) for task_id in tasks]
    assert [[str(row["ident"]) for row in rows] for rows in found] == [[FIRST], [SECOND], []]
    assert {row["ident"] for row in await read(resources, "run_leases")} == {FIRST, SECOND}
    for ident, task_id, host_id in ((ENDED, tasks[0], 1), (FIRST, tasks[0], 1), (SECOND, tasks[1], 2)):
        (row,) = await read(resources, "task_of_run", ident=ident)
        assert (row["id"], row["host_id"]) == (task_id, host_id)


async def test_runs_of_a_task_instance_are_finished_once(resources: Resources, tasks: list[int]) -> None:
    before = await runs(resources)
    found = await read(resources, "finish_runs_of_task", task_id=tasks[0])
    after = await runs(resources)
    assert [str(row["ident"]) for row in found] == [FIRST]
    assert after[ENDED] == before[ENDED] and after[SECOND] == before[SECOND]
    assert after[FIRST]["finish_time"] is not None


async def test_only_unfinished_runs_of_the_worker_are_renewed(resources: Resources, tasks: list[int]) -> None:
    statement = "UPDATE subtask_instance SET status = 'CANCELING', operation = 'CANCEL' WHERE task_instance_id = %s"
    await change(resources, statement, tasks[1])
    before = await renewed(resources)
    found = await read(resources, "renew_leases", idents=[ENDED, FIRST])
    after = await renewed(resources)
    assert found == [{"ident": FIRST, "renewed": True, "canceling": False}]
    assert {ident for ident in before if before[ident] != after[ident]} == {FIRST}

    async with resources.database.transaction() as reporting:
        await fetch(reporting, "record_run_batch", ident=FIRST, batch=1, ended=False, rc=None)
        found = await read(resources, "renew_leases", idents=[FIRST, SECOND])
    assert sorted(found, key=lambda row: str(row["ident"])) == [
        {"ident": FIRST, "renewed": False, "canceling": False},
        {"ident": SECOND, "renewed": True, "canceling": True},
    ]


async def test_a_batch_is_recorded_once_and_for_its_run(resources: Resources, tasks: list[int]) -> None:
    async def record(ident: str, batch: int, *, ended: bool = False) -> int:
        rows = await read(resources, "record_run_batch", ident=ident, batch=batch, ended=ended, rc=0 if ended else None)
        return len(rows)

    async def last(ident: str) -> int:
        (row,) = await read(resources, "last_batch_of_run", ident=ident)
        return int(row["batch"])

    assert [await record(FIRST, batch) for batch in (1, 1, 3, 2)] == [1, 0, 1, 0]
    assert await record(ENDED, 1) == 0
    assert [await last(ident) for ident in (ENDED, FIRST, SECOND)] == [0, 3, 0]
    assert (await runs(resources))[FIRST]["finish_time"] is None
    assert await record(FIRST, 4, ended=True) == 1
    found = await runs(resources)
    assert (found[FIRST]["rc"], found[SECOND]["rc"]) == (0, None)
    assert [found[ident]["finish_time"] is None for ident in (FIRST, SECOND)] == [False, True]


async def test_a_batch_renews_the_lease_of_a_run_also_after_a_step_of_the_clock(
    resources: Resources, tasks: list[int]
) -> None:
    for interval in ("-1 hour", "1 hour"):
        statement = "UPDATE run SET renewed = now() + %s::interval, batch = 0 WHERE ident = %s"
        await change(resources, statement, interval, FIRST)
        before = await renewed(resources)
        await read(resources, "record_run_batch", ident=FIRST, batch=1, ended=False, rc=None)
        assert (await renewed(resources))[FIRST] > before[FIRST]


async def test_a_lease_has_expired_if_its_run_was_not_renewed_since(resources: Resources, tasks: list[int]) -> None:
    stamps = await renewed(resources)
    for ident, stamp, expired in ((FIRST, FIRST, True), (FIRST, SECOND, False), (SECOND, FIRST, False)):
        named = {"idents": [ident], "stamps": [stamps[stamp]]}
        assert await read(resources, "lock_unfinished_runs_of_task", task_id=tasks[0], **named) == [
            {"ident": FIRST, "expired": expired}
        ]
        (counted,) = await read(resources, "count_leased_runs_of_cluster", cluster_id=1, **named)
        assert counted["alive"] == 2 - expired
    async with resources.database.transaction() as connection:
        await fetch(connection, "lock_unfinished_runs_of_task", task_id=tasks[0], idents=[], stamps=[])
        found = await read(resources, "renew_leases", idents=[FIRST, SECOND])
    assert {row["ident"]: row["renewed"] for row in found} == {FIRST: False, SECOND: True}


async def test_runs_and_task_instances_are_counted_by_their_cluster(resources: Resources, tasks: list[int]) -> None:
    async def counted(cluster_id: int) -> tuple[int, int]:
        (alive,) = await read(resources, "count_leased_runs_of_cluster", cluster_id=cluster_id, idents=[], stamps=[])
        (started,) = await read(resources, "count_started_tasks_of_cluster", cluster_id=cluster_id)
        return alive["alive"], started["total"]

    async def set_context(task_id: int, name: str, value: str) -> None:
        path = ["stringMap", name]
        statement = "UPDATE task_instance SET context = jsonb_set(context, %s, to_jsonb(%s::text)) WHERE id = %s"
        await change(resources, statement, path, value, task_id)

    assert [await counted(number) for number in (1, 7)] == [(2, 3), (0, 0)]
    await set_context(tasks[1], "obproxy_cluster_id", "7")
    assert [await counted(number) for number in (1, 7)] == [(1, 2), (1, 1)]
    await set_context(tasks[2], "check_mode", "true")
    assert await counted(1) == (1, 1)
    await change(resources, "UPDATE task_instance SET held_by = 'ROLLOUT' WHERE id = %s", tasks[1])
    statement = "UPDATE task_instance SET status = 'FAILED', finish_time = now() WHERE id = %s"
    await change(resources, statement, tasks[0])
    assert [await counted(number) for number in (1, 7)] == [(1, 0), (1, 0)]
