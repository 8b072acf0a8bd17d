"""Lease expiry when a clock is stepped: a lease expires when its stamp does not change, by any clock."""

from dataclasses import dataclass, replace

import pytest

from service.model.tasks import SubtaskStatus, TaskInstance, TaskStatus
from service.store.database import execute, fetch
from service.store.queue import QUEUE, WEBHOOK_QUEUE
from service.tasks import instances
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from service.worker import job, worker
from service.worker.expiry import EXPIRY_TIMEOUT, Expiry
from service.worker.leases import Leases
from tests.integration.fetched_jobs import claimed
from tests.integration.users import ADMIN

RUN = "00000000-0000-0000-0000-000000000001"
STEPS = ["-1 day", "-31 seconds", "31 seconds", "1 day"]
"""How far a stamp is from the database's clock after that was stepped the other way."""


@dataclass
class Clock:
    """The monotonic clock of an observer, which the test advances."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def expiry(resources: Resources, clock: Clock) -> Expiry:
    """Return an observer that has observed nothing yet."""
    return Expiry(resources.database, clock)


@pytest.fixture
async def task(resources: Resources) -> TaskInstance:
    """Return a task instance with a run with a valid lease."""
    ((submitted, _),) = await take_over(
        resources, 1, [HostRequest(host_id=1, sql_port=2883)], creator=ADMIN, trace_id="t"
    )
    async with resources.database.transaction() as connection:
        await execute(connection, "insert_run", ident=RUN, task_id=submitted.id, executor="x")
    return submitted


async def step(resources: Resources, interval: str) -> None:
    """Put every stamp as far from the database's clock as a step of that would."""
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE run SET renewed = renewed + %s::interval", (interval,))
        await connection.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat + %s::interval", (interval,)
        )


async def expire(resources: Resources, task: TaskInstance, expiry: Expiry) -> bool:
    return await Recorder(replace(resources, executor="other"), task.id).expire(expiry.expired_runs())


async def stalled(resources: Resources, expiry: Expiry) -> list[int]:
    dead = expiry.expired_workers()
    async with resources.database.transaction() as connection:
        rows = await fetch(connection, "stalled_jobs", queues=[QUEUE], workers=[*dead], stamps=[*dead.values()])
    return [row["id"] for row in rows]


@pytest.mark.parametrize("interval", STEPS)
async def test_a_step_of_the_clock_expires_no_live_run(
    resources: Resources, task: TaskInstance, expiry: Expiry, clock: Clock, interval: str
) -> None:
    held = await claimed(resources)
    await expiry.observe()
    await step(resources, interval)

    for _ in range(20):  # a worker renews, and the stamps stay as far off
        clock.now += 3.0
        await expiry.observe()
        await step(resources, "1 microsecond")
        assert not await expire(resources, task, expiry)
        assert await stalled(resources, expiry) == []
    with pytest.raises(job.JobPostponed, match="a run with a valid lease"):
        await job.perform(resources, task.id, job=held, leases=Leases(resources.database, expiry))

    assert (await instances.get(resources.database, task.id))[0].status is TaskStatus.RUNNING


@pytest.mark.parametrize("interval", STEPS)
async def test_a_step_of_the_clock_keeps_no_expired_run(
    resources: Resources, task: TaskInstance, expiry: Expiry, clock: Clock, interval: str
) -> None:
    held = await claimed(resources)
    await step(resources, interval)
    await expiry.observe()
    clock.now += EXPIRY_TIMEOUT - 0.1
    await expiry.observe()
    assert not await expire(resources, task, expiry)
    assert await stalled(resources, expiry) == []

    clock.now += 0.2

    assert await stalled(resources, expiry) == [held.id]
    assert await expire(resources, task, expiry)
    found, subtasks = await instances.get(resources.database, task.id)
    assert (found.status, subtasks[0].status) == (TaskStatus.FAILED, SubtaskStatus.FAILED)


async def test_a_renewal_after_the_last_observation_keeps_a_run(
    resources: Resources, task: TaskInstance, expiry: Expiry, clock: Clock
) -> None:
    await claimed(resources)
    await expiry.observe()
    clock.now += EXPIRY_TIMEOUT
    assert list(expiry.expired_runs()) == [RUN] and len(expiry.expired_workers()) == 1

    await step(resources, "1 microsecond")

    assert not await expire(resources, task, expiry)
    assert await stalled(resources, expiry) == []


async def test_a_paused_process_expires_no_renewed_lease(
    resources: Resources, task: TaskInstance, expiry: Expiry, clock: Clock
) -> None:
    await expiry.observe()
    clock.now += 10 * EXPIRY_TIMEOUT
    await step(resources, "1 microsecond")

    await expiry.observe()

    assert not expiry.expired_runs()


@pytest.mark.parametrize("queue", [QUEUE, WEBHOOK_QUEUE])
async def test_a_worker_requeues_the_job_of_a_dead_worker(
    resources: Resources, task: TaskInstance, expiry: Expiry, clock: Clock, queue: str
) -> None:
    async with resources.database.transaction() as connection:
        await resources.queue.defer_webhook(connection, {"id": "1"})
    held = await claimed(resources, queue)
    assert held.id
    await expiry.observe()
    await worker.requeue_stalled_jobs(resources, expiry)
    assert (await resources.queue.app.job_manager.get_job_status_async(held.id)).value == "doing"

    clock.now += EXPIRY_TIMEOUT
    await worker.requeue_stalled_jobs(resources, expiry)

    assert (await resources.queue.app.job_manager.get_job_status_async(held.id)).value == "todo"
    await worker.requeue_stalled_jobs(resources, expiry)
    await expiry.observe()
    assert not expiry.expired_workers(), "it is forgotten once it has no job"


async def test_an_expired_run_does_not_count_for_its_cluster(
    resources: Resources, task: TaskInstance, expiry: Expiry, clock: Clock
) -> None:
    async def is_registered() -> int:
        expired = expiry.expired_runs()
        async with resources.database.transaction() as connection:
            (row,) = await fetch(
                connection, "count_leased_runs_of_cluster", cluster_id=1, idents=[*expired], stamps=[*expired.values()]
            )
        return int(row["alive"])

    await step(resources, "-1 day")
    await expiry.observe()
    assert await is_registered() == 1

    clock.now += EXPIRY_TIMEOUT

    assert await is_registered() == 0
