"""Submit writes everything in one transaction, or nothing."""

import asyncio
from collections.abc import Sequence

import pytest
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from service.model.errors import InvalidRequest, TakeoverError, UnknownCluster, UnknownHost
from service.model.tasks import Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.model.workflow import TAKEOVER
from service.store.database import fetch
from service.tasks import instances
from service.tasks.errors import AlreadyManaged, HostBusy
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.users import ADMIN

TABLES = ("obproxy_server", "task_instance", "subtask_instance", "subtask_dependency", "task_secret")


def host(host_id: int, password: str | None = None) -> HostRequest:
    return HostRequest(host_id=host_id, sql_port=2883, password=SecretStr(password) if password else None)


async def submit(resources: Resources, *hosts: HostRequest, cluster_id: int = 1) -> list[TaskInstance]:
    submitted = await take_over(resources, cluster_id, hosts, creator=ADMIN, trace_id="0123456789abcdef")
    return [task for task, _ in submitted]


async def count_rows(resources: Resources) -> dict[str, int]:
    async with resources.database.transaction() as connection:
        counts = {}
        for table in (*TABLES, "procrastinate_jobs"):
            cursor = await connection.execute(SQL("SELECT count(*) AS n FROM {}").format(Identifier(table)))
            row = await cursor.fetchone()
            assert row
            counts[table] = row["n"]
        return counts


async def test_writes_servers_tasks_subtasks_and_jobs(resources: Resources) -> None:
    submitted = await take_over(resources, 1, [host(2), host(1)], creator=ADMIN, trace_id="t")

    assert [task.host_id for task, _ in submitted] == [2, 1]
    for task, subtasks in submitted:
        assert task.status is TaskStatus.RUNNING
        assert [s.role for s in subtasks] == resources.workflows[TAKEOVER].roles
        assert [s.status for s in subtasks] == [SubtaskStatus.READY] + [SubtaskStatus.PENDING] * (len(subtasks) - 1)
        assert_chain(subtasks)
    counts = await count_rows(resources)
    assert counts["obproxy_server"] == counts["task_instance"] == counts["procrastinate_jobs"] == 2


def assert_chain(subtasks: Sequence[Subtask]) -> None:
    ids = [subtask.id for subtask in subtasks]
    for position, subtask in enumerate(subtasks):
        assert list(subtask.upstreams) == ids[:position][-1:]
        assert list(subtask.downstreams) == ids[position + 1 :][:1]


async def test_jobs_of_one_host_share_a_lock(resources: Resources) -> None:
    (task,) = await submit(resources, host(3))

    (job,) = await resources.queue.app.job_manager.list_jobs_async()
    assert job.lock == "host-3"
    assert job.task_kwargs == {"task_instance_id": task.id}


async def test_reads_back_the_submitted_takeover(resources: Resources) -> None:
    submitted = await take_over(resources, 1, [host(1)], creator=ADMIN, trace_id="t")

    assert await instances.get(resources.database, submitted[0][0].id) == submitted[0]


@pytest.mark.parametrize(
    ("cluster_id", "host_ids", "error"),
    [
        (99, [1], UnknownCluster),
        (1, [99], UnknownHost),
        (1, [1, 98, 99], InvalidRequest),
    ],
)
async def test_rejects_unknown_clusters_and_hosts(
    resources: Resources, cluster_id: int, host_ids: list[int], error: type[TakeoverError]
) -> None:
    with pytest.raises(error) as refused:
        await submit(resources, *map(host, host_ids), cluster_id=cluster_id)

    assert "9" in str(refused.value)
    assert set((await count_rows(resources)).values()) == {0}


async def test_rejects_a_host_with_a_running_task_and_names_it(resources: Resources) -> None:
    (first,) = await submit(resources, host(1))
    before = await count_rows(resources)

    with pytest.raises(HostBusy, match=f"Host 1 .*: {first.id}"):
        await submit(resources, host(2), host(1))

    assert await count_rows(resources) == before


async def test_rejects_a_managed_proxy_and_names_it(resources: Resources) -> None:
    (task,) = await submit(resources, host(1))
    await finish(resources, task, managed=True)

    with pytest.raises(AlreadyManaged, match=f"server {task.obproxy_server_id} of cluster test"):
        await submit(resources, host(1))


async def test_takes_over_again_after_a_failed_takeover(resources: Resources) -> None:
    (first,) = await submit(resources, host(1))
    await finish(resources, first, managed=False)

    (second,) = await submit(resources, host(1))

    assert second.id != first.id
    assert second.obproxy_server_id == first.obproxy_server_id


async def finish(resources: Resources, task: TaskInstance, *, managed: bool) -> None:
    async with resources.database.transaction() as connection:
        status = "SUCCESSFUL" if managed else "FAILED"
        await connection.execute("UPDATE task_instance SET status = %s, finish_time = now()", (status,))
        if managed:
            await connection.execute("UPDATE obproxy_server SET status = 'RUNNING'")


async def test_of_two_racing_requests_for_one_host_exactly_one_wins(resources: Resources) -> None:
    results = await asyncio.gather(*(submit(resources, host(1)) for _ in range(8)), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["HostBusy"] * 7 + ["list"]
    assert (await count_rows(resources))["task_instance"] == 1


async def test_a_password_is_stored_encrypted_and_nowhere_else(resources: Resources) -> None:
    await submit(resources, host(1, password="S3cret-needle"))

    async with resources.database.transaction() as connection:
        for table in (*TABLES, "procrastinate_jobs"):
            cursor = await connection.execute(SQL("SELECT t::text AS row FROM {} t").format(Identifier(table)))
            assert not [row for row in await cursor.fetchall() if "S3cret-needle" in row["row"]]
        task_id = (await fetch(connection, "running_tasks", host_ids=[1]))[0]["id"]
        (secret,) = await fetch(connection, "secrets_of_task", task_id=task_id)
    assert resources.secrets.decrypt(secret["ciphertext"]).get_secret_value() == "S3cret-needle"
