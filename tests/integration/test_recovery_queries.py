"""Jobs that are lost, stalled, finished or requeued: each query concerns only its own worker, attempt and state."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from procrastinate.jobs import Job, Status

from service.store.database import execute, fetch
from service.store.queue import QUEUE, job_ownership
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.fetched_jobs import claimed
from tests.integration.named_queries import change, read, wait_for_lock
from tests.integration.users import ADMIN

DEADLINE = 30.0  # seconds
FINISH: dict[str, Any] = {"end_status": "succeeded", "delete_job": False}
RETRY: dict[str, Any] = {"delay": 0.0, "new_priority": None, "new_queue_name": None, "new_lock": None}
ENDS = [("finish_own_job", FINISH, "succeeded"), ("retry_own_job", RETRY, "todo")]


async def submit(resources: Resources, *host_ids: int) -> list[int]:
    """Take hosts over; return the ids of their task instances."""
    hosts = [HostRequest(host_id=host_id, sql_port=2883) for host_id in host_ids]
    return [task.id for task, _ in await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")]


async def state(resources: Resources, job: Job) -> str:
    assert job.id
    return (await resources.queue.app.job_manager.get_job_status_async(job.id)).value


async def test_the_secrets_of_a_task_instance_are_its_own(resources: Resources) -> None:
    tasks = await submit(resources, 1, 2)
    for task_id in tasks:
        values = {"task": task_id, "name": f"of {task_id}"}
        await change(resources, "INSERT INTO task_secret VALUES (%(task)s, %(name)s, 'x')", **values)
    for task_id in tasks:
        found = await read(resources, "secrets_of_task", task_id=task_id)
        assert [row["name"] for row in found] == [f"of {task_id}"]


async def test_task_instances_without_a_job_that_waits_or_runs_are_found(resources: Resources) -> None:
    waits, runs, failed = await submit(resources, 1, 2, 3)
    for task_id, status in ((runs, "doing"), (failed, "doing"), (failed, "failed")):
        statement = """UPDATE procrastinate_jobs SET status = %(status)s::procrastinate_job_status
                       WHERE (args ->> 'task_instance_id')::bigint = %(task)s"""
        await change(resources, statement, status=status, task=task_id)
    found = await read(resources, "running_tasks_without_job")
    assert [(row["id"], row["host_id"]) for row in found] == [(failed, 3)]

    await change(resources, "DELETE FROM procrastinate_jobs")
    assert [row["id"] for row in await read(resources, "running_tasks_without_job")] == [waits, runs, failed]
    await change(
        resources, "UPDATE task_instance SET status = 'FAILED', finish_time = now() WHERE id = %(task)s", task=waits
    )
    await change(resources, "UPDATE task_instance SET held_by = 'ROLLOUT' WHERE id = %(task)s", task=runs)
    assert [row["id"] for row in await read(resources, "running_tasks_without_job")] == [failed]


async def stamps(resources: Resources) -> dict[int, Any]:
    return {row["id"]: row["last_heartbeat"] for row in await read(resources, "worker_heartbeats")}


def workers(found: Mapping[int, Any]) -> dict[str, Any]:
    return {"workers": list(found), "stamps": list(found.values())}


async def test_jobs_of_workers_that_are_gone_or_expired_are_stalled(resources: Resources) -> None:
    await submit(resources, 1, 2, 3)
    gone, expired, alive = [await claimed(resources) for _ in range(3)]
    await change(resources, "DELETE FROM procrastinate_workers WHERE id = %(worker)s", worker=gone.worker_id)
    await change(resources, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 day' * id")
    found = await stamps(resources)
    assert expired.worker_id and alive.worker_id

    async def stalled(queues: list[str] = [QUEUE], **named: Any) -> list[int]:  # noqa: B006 - not changed
        return [row["id"] for row in await read(resources, "stalled_jobs", queues=queues, **named)]

    one = workers({expired.worker_id: found[expired.worker_id]})
    assert await stalled(**one) == [gone.id, expired.id]
    assert await stalled(**workers({expired.worker_id: found[alive.worker_id]})) == [gone.id], "it has renewed"
    assert await stalled(["other"], **one) == []
    await change(resources, "UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %(job)s", job=gone.id)
    assert await stalled(**one) == [expired.id]


async def test_an_expired_worker_is_forgotten_once_it_has_no_job(resources: Resources) -> None:
    await submit(resources, 1, 2, 3)
    busy, idle, renewed = [await claimed(resources) for _ in range(3)]
    alive = await resources.queue.app.job_manager.register_worker()
    for job in (idle, renewed):
        await resources.queue.app.job_manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
    await change(resources, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 day' * id")
    found = await stamps(resources)
    assert busy.worker_id and idle.worker_id and renewed.worker_id
    expired = {id: found[id] for id in (busy.worker_id, idle.worker_id)} | {renewed.worker_id: found[busy.worker_id]}
    for of in (expired, {renewed.worker_id: found[alive]}):
        async with resources.database.transaction() as connection:
            await execute(connection, "delete_stalled_workers", **workers(of))
        assert (await stamps(resources)).keys() == {busy.worker_id, renewed.worker_id, alive}


async def test_a_job_belongs_to_a_worker_and_its_attempt(resources: Resources) -> None:
    await submit(resources, 1, 2)
    mine, other = [await claimed(resources) for _ in range(2)]
    own = job_ownership(mine)
    others = [own | {"worker_id": other.worker_id}, own | {"attempts": mine.attempts + 1}, own | {"job_id": other.id}]
    for wrong in others:
        assert await read(resources, "lock_own_job", **wrong) == []
        for query, values, _ in ENDS:
            assert await read(resources, query, **wrong, **values) == []
    assert [row["id"] for row in await read(resources, "lock_own_job", **own)] == [mine.id]

    await resources.queue.app.job_manager.retry_job(mine)
    await change(
        resources,
        "UPDATE procrastinate_jobs SET worker_id = %(worker)s, attempts = %(attempts)s WHERE id = %(job)s",
        worker=mine.worker_id,
        attempts=mine.attempts,
        job=mine.id,
    )
    assert await read(resources, "lock_own_job", **own) == [], "it does not run"
    for query, values, _ in ENDS:
        assert await read(resources, query, **own, **values) == []
    assert (await state(resources, mine), await state(resources, other)) == ("todo", "doing")


@pytest.mark.parametrize(("query", "values", "ended"), ENDS)
async def test_a_job_is_ended_by_its_worker(
    resources: Resources, query: str, values: dict[str, Any], ended: str
) -> None:
    await submit(resources, 1, 2)
    mine, other = [await claimed(resources) for _ in range(2)]
    await read(resources, query, **job_ownership(mine), **values)
    assert (await state(resources, mine), await state(resources, other)) == (ended, "doing")


@pytest.mark.parametrize(("query", "values", "_ended"), [*ENDS, ("lock_own_job", {}, "")])
async def test_a_job_that_is_being_requeued_is_not_ended(
    resources: Resources, query: str, values: dict[str, Any], _ended: str
) -> None:
    await submit(resources, 1)
    mine = await claimed(resources)
    async with asyncio.timeout(DEADLINE), resources.database.autocommit() as watching:
        async with resources.database.transaction() as requeue:
            await fetch(requeue, "retry_own_job", **job_ownership(mine), **RETRY)
            ending = asyncio.create_task(read(resources, query, **job_ownership(mine), **values))
            await wait_for_lock(watching, ending)
        assert await ending == []
    assert await state(resources, mine) == "todo"


async def test_a_job_that_starts_its_run_is_not_requeued_meanwhile(resources: Resources) -> None:
    await submit(resources, 1)
    mine = await claimed(resources)
    async with asyncio.timeout(DEADLINE), resources.database.autocommit() as watching:
        async with resources.database.transaction() as starting:
            await fetch(starting, "lock_own_job", **job_ownership(mine))
            requeue = asyncio.create_task(resources.queue.app.job_manager.retry_job(mine))
            await wait_for_lock(watching, requeue)
            assert await state(resources, mine) == "doing"
        await requeue
    assert await state(resources, mine) == "todo"
