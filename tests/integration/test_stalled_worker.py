"""A worker that stalls anywhere between reading a task instance and starting its run, while other workers continue."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from psycopg.conninfo import make_conninfo

from service.inventory.reader import Inventory, InventoryReader
from service.inventory.snapshot import InventorySnapshot
from service.model.errors import InventoryUnreadable
from service.model.tasks import SubtaskStatus, TaskInstance, TaskStatus
from service.outcome.run_progress import RunEnd
from service.runs import run
from service.runs.spec import RunSpec
from service.store.database import fetch, open_database
from service.store.queue import open_queue
from service.tasks import instances, operations
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from service.worker import job
from service.worker.leases import Leases
from tests.integration.fetched_jobs import claimed
from tests.integration.users import ADMIN

DEADLINE = 30.0  # seconds that one of them takes at the most
MOST = 100  # awaits of a job; there are fewer
LOCK_PATIENCE = "100ms"  # a worker that stands still in a transaction keeps its locks

Meanwhile = Callable[[TaskInstance], Awaitable[None]]


class Paused:
    """A coroutine that stands still when it waits for the `number`th time, until `meanwhile` is over."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], number: int, meanwhile: Callable[[], Awaitable[None]]
    ) -> None:
        self.waits = 0
        self._coroutine = coroutine
        self._number = number
        self._meanwhile = meanwhile

    def __await__(self) -> Generator[Any, Any, None]:
        waiting = self._coroutine.__await__()
        sent: BaseException | None = None
        while True:
            try:
                awaited = waiting.throw(sent) if sent else waiting.send(None)
            except StopIteration:
                return
            sent = None
            try:
                yield awaited
            except BaseException as error:
                sent = error
            self.waits += 1
            if self.waits == self._number:
                yield from self._meanwhile().__await__()


class Ended:
    """In place of a run: it ends without a result."""

    pid = None

    def __init__(self, spec: RunSpec) -> None:
        self.ident = spec.ident

    async def batches(self) -> AsyncGenerator[tuple[list[dict[str, Any]], RunEnd | None]]:
        yield [], RunEnd(rc=None, status=None)

    async def terminate(self) -> None:
        """Nothing is left."""

    def cancel(self) -> None:
        """Do nothing: the run has ended."""

    def renew(self, renewed: float) -> None:
        """Do nothing: the run has ended."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[RunSpec]:
    """Return the runs that were started, in order."""
    specs: list[RunSpec] = []

    def start(spec: RunSpec, snapshot: InventorySnapshot) -> Ended:
        specs.append(spec)
        return Ended(spec)

    monkeypatch.setattr(run, "start", start)
    return specs


@pytest.fixture
async def other(resources: Resources) -> AsyncGenerator[Resources]:
    """Yield the resources of another worker: it waits only briefly for a lock."""
    url = make_conninfo(resources.database.url, options=f"-c lock_timeout={LOCK_PATIENCE}")
    async with open_database(url) as database, open_queue(database) as queue:
        inventory = InventoryReader(resources.settings.inventory, resources.settings.vault_password_file)
        yield replace(resources, database=database, queue=queue, inventory=inventory)


async def submitted(resources: Resources) -> tuple[TaskInstance, Job]:
    """Return a new task instance with its job, which a worker has fetched."""
    hosts = [HostRequest(host_id=1, sql_port=2883)]
    ((task, _),) = await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")
    return task, await claimed(resources)


async def perform_as_another(resources: Resources, task: TaskInstance, held: Job) -> None:
    """Act as another worker that considers the first one dead."""
    manager = resources.queue.app.job_manager
    try:
        await manager.retry_job(held)
    except ConnectorException:  # the first one has just looked whether it is its own, and keeps that from changing
        return
    mine = await claimed(resources)
    assert mine.id == held.id
    try:
        await job.perform(resources, task.id, job=mine, leases=Leases(resources.database))
    except (job.JobPostponed, psycopg.errors.LockNotAvailable):  # a lock is kept until the first one goes on
        await manager.retry_job(mine)
    else:
        await manager.finish_job(mine, Status.SUCCEEDED, delete_job=True)


async def stop_at(number: int, resources: Resources, other: Resources, meanwhile: Meanwhile) -> int:
    """Let one worker stand still at its `number`th await, then end what is left; return how often it has waited."""
    task, held = await submitted(resources)

    async def go_on() -> None:
        await perform_as_another(other, task, held)
        if (await instances.get(other.database, task.id))[0].status is TaskStatus.FAILED:
            await meanwhile(task)

    still = Paused(job.perform(resources, task.id, job=held, leases=Leases(resources.database)), number, go_on)
    with suppress(job.JobPostponed):
        await still
    await resources.queue.app.job_manager.retry_job(held)  # nothing, when it is the other one's by now
    while (await instances.get(resources.database, task.id))[0].status is TaskStatus.RUNNING:
        again = await claimed(resources)
        await job.perform(resources, task.id, job=again, leases=Leases(resources.database))
        await resources.queue.app.job_manager.finish_job(again, Status.SUCCEEDED, delete_job=True)
    async with resources.database.transaction() as connection:
        assert not await fetch(connection, "unfinished_runs_of_task", task_id=task.id)
        await connection.execute("DELETE FROM procrastinate_jobs")
    return still.waits


@pytest.mark.parametrize("retried", [False, True], ids=["the other one ends it", "somebody retries it then"])
async def test_nothing_runs_twice_wherever_a_worker_stands_still(
    resources: Resources, other: Resources, started: list[RunSpec], retried: bool
) -> None:
    retries = 0

    async def retry(task: TaskInstance) -> None:
        nonlocal retries
        if retried:
            await operations.retry_task(other, task.id)
            retries += 1

    for number in range(1, MOST):
        async with asyncio.timeout(DEADLINE):
            waits = await stop_at(number, resources, other, retry)
        assert len(started) == number + retries, f"at its {number}th await"
        if waits < number:
            break

    assert 10 < number < MOST - 1
    assert len({request.ident for request in started}) == len(started)
    assert bool(retries) == retried


async def test_a_worker_neither_ends_nor_requeues_the_job_of_another(resources: Resources, other: Resources) -> None:
    task, held = await submitted(resources)
    manager = resources.queue.app.job_manager
    await manager.retry_job(held)
    mine = await claimed(other)

    await manager.finish_job(held, Status.SUCCEEDED, delete_job=True)
    await manager.retry_job(held)

    assert await status_of(resources, mine) == "doing"
    await manager.finish_job(mine, Status.FAILED, delete_job=False)
    assert await status_of(resources, mine) == "failed"
    assert task.status is TaskStatus.RUNNING


async def status_of(resources: Resources, job: Job) -> str:
    assert job.id
    return (await resources.queue.app.job_manager.get_job_status_async(job.id)).value


async def test_a_removed_host_fails_only_the_task_of_its_worker(
    resources: Resources, other: Resources, started: list[RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, held = await submitted(resources)

    async def unreadable(reader: InventoryReader) -> Inventory:
        await resources.queue.app.job_manager.retry_job(held)
        await claimed(other)
        raise InventoryUnreadable(reason="planted")

    monkeypatch.setattr(InventoryReader, "current", unreadable)

    with pytest.raises(job.JobPostponed, match="belongs to another worker by now"):
        await job.perform(resources, task.id, job=held, leases=Leases(resources.database))

    assert not started
    assert (await instances.get(resources.database, task.id))[1][0].status is SubtaskStatus.READY
