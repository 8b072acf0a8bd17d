"""Transactions that race for the same rows: deadlocks are retried and never reach a response."""

import asyncio
import itertools
import random

import httpx
import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from psycopg import errors

from service.model.rollout import Rollout
from service.model.types import JSON
from service.model.workflow import TAKEOVER
from service.store import database_errors
from service.store.database import Connection, fetch
from service.store.database_errors import retry_contention
from service.tasks import operations, request_operations, rollouts, submit
from service.tasks.errors import HostBusy
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest
from tests.integration.sample_tasks import advance
from tests.integration.users import ADMIN

HOSTS = (1, 2, 3)
ROUNDS = 60
FETCH = (
    "UPDATE procrastinate_jobs SET status = 'doing' "
    "WHERE queue_name = 'takeover' AND (args ->> 'task_instance_id')::bigint = ANY(%s)"
)
FINISH = (
    "UPDATE task_instance SET status = 'FAILED', finish_time = now(), held_by = NULL WHERE status = 'RUNNING' "
    "RETURNING id"
)


async def finish_all(resources: Resources) -> list[int]:
    async with resources.database.transaction() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs")
        return [row["id"] for row in await (await connection.execute(FINISH.encode())).fetchall()]


async def deadlocks(resources: Resources) -> int:
    """Deadlocks that the server has counted in this database."""
    async with resources.database.autocommit() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        rows = await connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int((await rows.fetchall())[0]["deadlocks"])


async def take_over(resources: Resources, wanted: list[HostRequest]) -> object:
    return await submit.take_over(resources, 1, wanted, creator=ADMIN, trace_id="t")


@pytest.mark.parametrize("ports", [(2883, 2883), (2883, 2884)], ids=["same ports", "other ports"])
async def test_requests_with_the_same_hosts_in_any_order_never_deadlock(
    resources: Resources, ports: tuple[int, int]
) -> None:
    orders = list(itertools.permutations(HOSTS))
    before = await deadlocks(resources)
    for number in range(ROUNDS):
        attempts = [
            take_over(resources, [HostRequest(host_id=host, sql_port=ports[index % 2]) for host in order])
            for index, order in enumerate((orders[number % 6], orders[number % 6][::-1], *random.sample(orders, 2)))
        ]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        refused = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(error, HostBusy) for error in refused), refused
        assert len(refused) == len(attempts) - 1
        await finish_all(resources)
    assert await deadlocks(resources) == before


async def test_a_takeover_operations_and_reports_of_the_same_servers_never_deadlock(resources: Resources) -> None:
    role = resources.workflows[TAKEOVER].roles[0]
    before = await deadlocks(resources)
    wanted = [HostRequest(host_id=host, sql_port=2883) for host in HOSTS]
    for _ in range(ROUNDS // 3):
        await take_over(resources, wanted)
        async with resources.database.autocommit() as connection:
            rows = await (await connection.execute("SELECT id FROM task_instance WHERE status = 'RUNNING'")).fetchall()
        ids = [row["id"] for row in rows]
        results = await asyncio.gather(
            *(advance(resources, task_id, [], role, "broken") for task_id in ids),
            take_over(resources, wanted),
            *(operations.retry_task(resources, task_id) for task_id in ids),
            take_over(resources, wanted[::-1]),
            return_exceptions=True,
        )
        errors_of_database = [error for error in results if database_errors.database_error(as_error(error)) is not None]
        assert not errors_of_database
        await finish_all(resources)
    assert await deadlocks(resources) == before


@pytest.mark.parametrize("rollout", [None, Rollout(batch_size=2, max_failures=1)], ids=["at once", "in batches"])
async def test_operations_on_a_request_and_reports_of_its_hosts_never_deadlock(
    resources: Resources, rollout: Rollout | None
) -> None:
    role = resources.workflows[TAKEOVER].roles[0]
    before = await deadlocks(resources)
    wanted = [HostRequest(host_id=host, sql_port=2883) for host in HOSTS]
    for _ in range(ROUNDS // 3):
        submitted = await submit.take_over(resources, 1, wanted, creator=ADMIN, trace_id="t", rollout=rollout)
        request_id = submitted[0][0].request_id
        assert request_id is not None
        async with resources.database.transaction() as connection:  # a worker has them
            ids = [task.id for task, _ in submitted[:2]]
            await connection.execute(FETCH.encode(), (ids,))
        results = await asyncio.gather(
            *(advance(resources, task.id, [], role, "broken") for task, _ in submitted[:2]),
            rollouts.advance_all(resources.database),
            request_operations.cancel(resources, request_id),
            request_operations.retry(resources, request_id),
            request_operations.retry(resources, request_id),
            request_operations.rollback(resources, request_id),
            take_over(resources, wanted[::-1]),
            return_exceptions=True,
        )
        assert not [error for error in results if database_errors.database_error(as_error(error)) is not None]
        await finish_all(resources)
    assert await deadlocks(resources) == before


def as_error(result: object) -> BaseException | None:
    return result if isinstance(result, BaseException) else None


async def test_a_deadlock_is_repeated_until_it_is_none(resources: Resources) -> None:
    """Two transactions that lock two rows in opposite orders, with a barrier between both locks of the first try."""
    async with resources.database.transaction() as connection:
        await connection.execute("CREATE TABLE pair (id integer PRIMARY KEY, number integer NOT NULL)")
        await connection.execute("INSERT INTO pair VALUES (1, 0), (2, 0)")
    barrier, tries = asyncio.Barrier(2), 0

    async def touch(connection: Connection, row: int) -> None:
        await connection.execute("UPDATE pair SET number = number + 1 WHERE id = %s", (row,))

    def crossing(first: int, second: int) -> object:
        met = False

        @retry_contention
        async def both() -> None:
            nonlocal met, tries
            tries += 1
            async with resources.database.transaction() as connection:
                await touch(connection, first)
                if not met:
                    met = True
                    await barrier.wait()
                await touch(connection, second)

        return both()

    await asyncio.gather(crossing(1, 2), crossing(2, 1))  # type: ignore[call-overload]

    async with resources.database.autocommit() as connection:
        rows = await (await connection.execute("SELECT number FROM pair ORDER BY id")).fetchall()
    assert [row["number"] for row in rows] == [2, 2]
    assert tries > 2


@pytest.mark.parametrize("error", [errors.DeadlockDetected, errors.SerializationFailure])
async def test_the_repetition_is_bounded(monkeypatch: pytest.MonkeyPatch, error: type[psycopg.Error]) -> None:
    monkeypatch.setattr(database_errors, "RETRY_DELAY", 0.0)
    calls = 0

    @retry_contention
    async def never() -> None:
        nonlocal calls
        calls += 1
        raise error("again")

    with pytest.raises(error):
        await never()
    assert calls == database_errors.MAX_ATTEMPTS


async def test_other_errors_are_not_repeated() -> None:
    calls = 0

    @retry_contention
    async def wrong() -> None:
        nonlocal calls
        calls += 1
        raise errors.UniqueViolation("twice")

    with pytest.raises(errors.UniqueViolation):
        await wrong()
    assert calls == 1


def wrapped(cause: psycopg.Error) -> ConnectorException:
    error = ConnectorException("the queue's")
    error.__cause__ = cause
    return error


LOST = [
    psycopg.OperationalError("connection refused"),
    psycopg.InterfaceError("the connection is closed"),
    errors.AdminShutdown("terminating connection"),
    errors.CannotConnectNow("starting up"),
    errors.ConnectionFailure("broken"),
    wrapped(errors.AdminShutdown("terminating connection")),
]
NOT_LOST = [
    errors.DeadlockDetected("deadlock detected"),
    errors.SerializationFailure("could not serialize"),
    errors.DiskFull("No space left on device"),
    errors.ReadOnlySqlTransaction("read-only"),
    errors.UndefinedTable("no such table"),
    errors.QueryCanceled("canceled"),
    errors.OutOfMemory("out of memory"),
    ValueError("nothing of the database"),
    wrapped(errors.DeadlockDetected("deadlock detected")),
]


@pytest.mark.parametrize(("error", "lost"), [*((e, True) for e in LOST), *((e, False) for e in NOT_LOST)], ids=repr)
def test_only_a_lost_connection_is_a_lost_database(error: Exception, lost: bool) -> None:
    assert database_errors.is_lost(error) is lost


async def test_another_error_of_the_database_is_an_error_of_the_service(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute("ALTER TABLE task_secret RENAME TO task_secret_gone")
    body: JSON = {"hosts": [{"hostId": 1, "sqlPort": 2883, "proxysysPasswd": "Proxysys#1"}]}

    answer = await client.post("/api/v2/obproxy/clusters/1/takeOver", json=body)

    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "Unexpected error: UndefinedTable.")
    async with resources.database.autocommit() as connection:
        assert not await fetch(connection, "running_tasks", host_ids=[1])
