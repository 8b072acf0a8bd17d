"""The worker: executes jobs of the queue, renews its leases, and requeues the jobs of expired workers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from procrastinate import App, BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.exceptions import ProcrastinateException
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job

from service.fleet import discoveries
from service.model.types import JSON
from service.runs import directories, run
from service.store.database import execute, fetch
from service.store.database_errors import database_error
from service.store.queue import (
    DISCOVERY,
    HOST_DISCOVERY,
    HOST_DISCOVERY_QUEUE,
    QUEUE,
    REQUEST_END,
    RUN,
    WEBHOOK,
    WEBHOOK_QUEUE,
    open_queue,
)
from service.tasks import rollouts
from service.tasks.resources import Resources
from service.worker import concurrency, discovery, health_checks, host_discovery, retention, webhooks
from service.worker.expiry import Expiry
from service.worker.job import MAX_REQUEUE_DELAY, JobPostponed, perform
from service.worker.leases import Leases

log = logging.getLogger(__name__)

RECOVERY_INTERVAL = 3.0  # seconds between two observations of leases and searches for stalled jobs
STALLED_WORKER_TIMEOUT = 86400.0  # seconds; Procrastinate's own check uses the database's clock, ours comes earlier
QUEUES = [QUEUE, HOST_DISCOVERY_QUEUE, WEBHOOK_QUEUE]
POSTPONING_QUEUES = [QUEUE, HOST_DISCOVERY_QUEUE]
POLL_INTERVAL = 2.0  # seconds; PostgreSQL does not notify workers of requeued jobs
RETRY_DELAY = 1.0  # seconds until Procrastinate's worker is restarted after a failure


class RequeueStrategy(BaseRetryStrategy):
    """Decides which jobs are requeued."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Requeue a canceled job of a stopping worker at once, a postponed one after its delay, a failed one never."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        if isinstance(exception, JobPostponed):
            return RetryDecision(retry_in={"milliseconds": round(exception.delay * 1000)})
        return None


@asynccontextmanager
async def running(resources: Resources) -> AsyncIterator[None]:
    """Run a worker within the block. At its end, the worker's runs have ended or are requeued."""
    async with open_queue(resources.database) as queue:
        stages = await _start(resources, queue.app)
        try:
            yield
        finally:
            for tasks in stages:
                await _stop(tasks)


def _register_tasks(resources: Resources, app: App, leases: Leases) -> None:
    """Register the functions that execute the jobs of each kind."""

    @app.task(name=RUN, queue=QUEUE, pass_context=True, retry=RequeueStrategy())
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
    async def apply_retention(timestamp: int) -> None:
        await retention.apply(resources)

    @app.task(name=DISCOVERY, queue=QUEUE)
    async def discover_server(server_id: int) -> None:
        await discovery.perform(resources, server_id)

    @app.task(name=HOST_DISCOVERY, queue=HOST_DISCOVERY_QUEUE, retry=RequeueStrategy())
    async def discover_host(host_id: int) -> None:
        await host_discovery.perform(resources, host_id)

    @app.task(name=WEBHOOK, queue=WEBHOOK_QUEUE, retry=webhooks.RetryStrategy())
    async def send_webhook(event: JSON) -> None:
        await webhooks.send(resources.settings, event)

    @app.task(name=REQUEST_END, queue=WEBHOOK_QUEUE, retry=webhooks.RetryStrategy())
    async def announce_request_end(request_id: int) -> None:
        await webhooks.announce_request_end(resources, request_id)


async def _start(resources: Resources, app: App) -> list[list[asyncio.Task[None]]]:
    """Start the worker's long-lived asyncio tasks; return them in stages, in which they must be stopped."""
    leases, settings = Leases(resources.database), resources.settings
    _register_tasks(resources, app, leases)
    await asyncio.to_thread(run.remove_orphaned_runs)
    await asyncio.to_thread(directories.check_tmpfs)
    grace = settings.shutdown_grace
    runs = settings.worker_concurrency or concurrency.of_this_machine()
    log.info("Up to %d task instances run at the same time", runs, extra={"action": "worker_started"})
    workers = {
        # Without a grace: a discovery changes nothing.
        "discovery-worker": _work_forever(resources, app, HOST_DISCOVERY_QUEUE, host_discovery.CONCURRENCY, grace=0),
        "worker": _work_forever(resources, app, QUEUE, runs, grace),
    }
    if resources.queue.sends_webhooks:
        workers["webhook-worker"] = _work_forever(resources, app, WEBHOOK_QUEUE, webhooks.CONCURRENCY, grace)
    return [
        [
            asyncio.create_task(_recover_forever(resources, leases.expiry), name="recovery"),
            *(
                [asyncio.create_task(health_checks.check_forever(resources), name="health-checks")]
                if health_checks.are_enabled(resources)
                else []
            ),
        ],
        # At the same time: none takes a job while another one waits for its own.
        [asyncio.create_task(each, name=name) for name, each in workers.items()],
        [asyncio.create_task(leases.renew_forever(), name="leases")],  # last: ending jobs need their leases
    ]


async def _stop(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel asyncio tasks and wait until all have ended; raise the error of one that has failed."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _work_forever(resources: Resources, app: App, queue: str, concurrency: int, grace: float) -> None:
    """Run a worker of Procrastinate and restart it: it stops whenever it loses the database.

    At a stop it waits `grace` seconds for its jobs, then cancels them.
    Each queue has a worker of its own, so that a slow receiver of webhooks delays no takeover.
    """
    task = asyncio.current_task()
    while task is None or not task.cancelling():
        try:
            await app.run_worker_async(
                queues=[queue],
                name=resources.executor,
                concurrency=concurrency,
                fetch_job_polling_interval=POLL_INTERVAL,
                shutdown_graceful_timeout=grace,
                stalled_worker_timeout=STALLED_WORKER_TIMEOUT,
                install_signal_handlers=False,
                delete_jobs="successful",
            )
        except Exception as error:  # the loop must survive an unavailable database
            cause = database_error(error) or error  # Procrastinate's own text is "Database error."
            log.warning("The connection to the queue was lost: %s", cause, extra={"action": "queue_lost"})
            if task is not None and task.cancelling():
                return
        await asyncio.sleep(RETRY_DELAY)


async def _recover_forever(resources: Resources, expiry: Expiry) -> None:
    while True:
        try:
            await asyncio.to_thread(run.remove_orphaned_runs)
            await expiry.observe()
            await requeue_stalled_jobs(resources, expiry)
            await rollouts.advance_all(resources.database)
        except Exception as error:  # the loop must survive an unavailable database
            log.warning(
                "Requeuing stalled jobs or advancing rollouts failed: %s", error, extra={"action": "recovery_failed"}
            )
        await asyncio.sleep(RECOVERY_INTERVAL)


async def requeue_stalled_jobs(resources: Resources, expiry: Expiry) -> None:
    """Requeue the jobs of expired workers, unless another worker does so now; then delete these workers."""
    manager = resources.queue.app.job_manager
    async with resources.database.transaction() as connection:
        (lock,) = await fetch(connection, "try_recovery_lock")
        if not lock["acquired"]:
            return
        expired = expiry.expired_workers()
        workers = {"workers": [*expired], "stamps": [*expired.values()]}
        for job in map(Job.from_row, await fetch(connection, "stalled_jobs", queues=QUEUES, **workers)):
            log.warning("Job %s lost its worker and is requeued", job.id, extra={"action": "job_requeued"})
            try:
                await manager.retry_job(job)
            except ProcrastinateException as error:  # it has ended meanwhile, or a newer job has its lock
                log.warning("Job %s cannot be requeued: %s", job.id, error, extra={"action": "job_not_requeued"})
        too_late = {"queues": POSTPONING_QUEUES, "delay": 2 * MAX_REQUEUE_DELAY}
        await execute(connection, "schedule_jobs_that_are_due_too_late", **too_late)
        # A running task instance without a job: the cause is unknown, a new attempt decides.
        abandoned = await fetch(connection, "running_tasks_without_job")
        await resources.queue.defer(connection, {row["id"]: row["host_id"] for row in abandoned})
        await discoveries.recover(resources, connection)
        await execute(
            connection, "delete_stalled_workers", **workers
        )  # last: a requeue could wait for the rows it locks
