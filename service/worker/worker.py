"""A worker: does the jobs of the queue, renews what it does, and puts back what a dead one has left."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from procrastinate import App, BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.exceptions import ProcrastinateException
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job

from service.runs import directories, run
from service.store.database import execute, fetch
from service.store.queue import LOOK, QUEUE, TASK, open_queue
from service.tasks.resources import Resources
from service.worker import discovery, health_checks, retention
from service.worker.expiry import Expiry
from service.worker.job import NotNow, perform
from service.worker.leases import Leases

log = logging.getLogger(__name__)

RECOVERY_INTERVAL = 3.0  # seconds between two observations of leases, and between two looks for what a dead worker left
FORGOTTEN = 86400.0  # seconds; Procrastinate removes dead workers by the database's clock, which `recover` does first
HANDED_BACK_FOR = 2  # seconds a job rests that no worker may do now
POLL = 2.0  # seconds between two looks for jobs: those that are put back are not announced
RESTART_PAUSE = 1.0  # seconds until the queue is tried again after it was lost


class HandBack(BaseRetryStrategy):
    """Which jobs go back on the queue."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """What a stopping worker has cancelled at once, what cannot be done now later, what has failed never."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        return RetryDecision(retry_in={"seconds": HANDED_BACK_FOR}) if isinstance(exception, NotNow) else None


@asynccontextmanager
async def running(resources: Resources) -> AsyncIterator[None]:
    """A worker beside whatever else the process does; at the end its runs have ended or are handed back."""
    async with open_queue(resources.database) as queue:
        tasks = await _start(resources, queue.app)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _start(resources: Resources, app: App) -> list[asyncio.Task[None]]:
    """The long-lived tasks of a worker, in the order in which they are to be stopped."""
    leases = Leases(resources.database)

    @app.task(name=TASK, queue=QUEUE, pass_context=True, retry=HandBack())
    async def run_task_instance(context: JobContext, task_instance_id: int) -> None:
        await perform(
            resources,
            task_instance_id,
            job=context.job,
            leases=leases,
            is_canceled=lambda: context.abort_reason() is AbortReason.USER_REQUEST,
        )

    @app.periodic(cron="17 * * * *")
    @app.task(name="retention", queue=QUEUE, queueing_lock="retention")
    async def remove_what_is_old(timestamp: int) -> None:
        await retention.apply(resources)

    @app.task(name=LOOK, queue=QUEUE)
    async def look_at_server(server_id: int) -> None:
        await discovery.perform(resources, server_id)

    await asyncio.to_thread(run.sweep)
    await asyncio.to_thread(directories.check_memory)
    return [
        *(
            [asyncio.create_task(health_checks.forever(resources), name="checks")]
            if health_checks.wanted(resources)
            else []
        ),
        asyncio.create_task(_recover_forever(resources, leases.expiry), name="recovery"),
        asyncio.create_task(_work_forever(resources, app), name="worker"),
        asyncio.create_task(leases.renew_forever(), name="leases"),  # last: jobs that end need them
    ]


async def _work_forever(resources: Resources, app: App) -> None:
    """Procrastinate's worker stops, after a while for its jobs, whenever it loses the database."""
    task = asyncio.current_task()
    while task is None or not task.cancelling():
        try:
            await app.run_worker_async(
                queues=[QUEUE],
                name=resources.executor,
                concurrency=resources.settings.worker_concurrency,
                fetch_job_polling_interval=POLL,
                shutdown_graceful_timeout=resources.settings.shutdown_grace,
                stalled_worker_timeout=FORGOTTEN,
                install_signal_handlers=False,
                delete_jobs="successful",
            )
        except Exception as error:  # a process loop: the database may be gone for a while
            log.warning("The queue was lost: %s", error, extra={"action": "queue_lost"})
            if task is not None and task.cancelling():
                return
        await asyncio.sleep(RESTART_PAUSE)


async def _recover_forever(resources: Resources, expiry: Expiry) -> None:
    while True:
        try:
            await asyncio.to_thread(run.sweep)
            await expiry.observe()
            await recover(resources, expiry)
        except Exception as error:  # a process loop: the database may be gone for a while
            log.warning("Looking for stalled jobs failed: %s", error, extra={"action": "recovery_failed"})
        await asyncio.sleep(RECOVERY_INTERVAL)


async def recover(resources: Resources, expiry: Expiry) -> None:
    """Put the jobs of dead workers back on the queue; `perform` finds out how far they had come."""
    manager = resources.queue.app.job_manager
    async with resources.database.transaction() as connection:
        (turn,) = await fetch(connection, "try_recovery_lock")
        if not turn["acquired"]:
            return
        dead = expiry.workers()
        stamps = {"workers": [*dead], "stamps": [*dead.values()]}
        for job in map(Job.from_row, await fetch(connection, "stalled_jobs", queue=QUEUE, **stamps)):
            log.warning("Job %s lost its worker; running it again", job.id, extra={"action": "job_recovered"})
            try:
                await manager.retry_job(job)
            except ProcrastinateException as error:  # it has ended meanwhile, or a newer one does the same
                log.warning("Job %s cannot be put back: %s", job.id, error, extra={"action": "job_not_recovered"})
        # A job that ended without its task instance having ended: whatever went wrong, another try finds out.
        abandoned = await fetch(connection, "running_tasks_without_job")
        await resources.queue.defer(connection, {row["id"]: row["host_id"] for row in abandoned})
        # Last: it locks rows that the requeueing of jobs may wait for.
        await execute(connection, "delete_stalled_workers", **stamps)
