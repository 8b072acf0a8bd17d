"""The job queue (Procrastinate).

A job runs a task instance, discovers a server or a host, sends a webhook, or announces the end of a request.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, LiteralString

from procrastinate import App, PsycopgConnector, utils
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

from service.model.types import JSON
from service.store.database import Connection, Database
from service.store.database_errors import is_contention, is_lost
from service.store.sql import queries

QUEUE = "takeover"
WEBHOOK_QUEUE = "webhooks"  # workers of the previous version do not fetch from it
HELD_QUEUE = "held"  # jobs of task instances that may not start yet; no worker fetches from it
RUN_ARGUMENT = "task_instance_id"
RUN = "run_task_instance"  # Procrastinate task; its only argument is the id of a task instance
DISCOVERY = "look_at_server"  # Procrastinate task, by the name in existing queues; argument: id of an OBProxy server
DISCOVERY_ARGUMENT = "server_id"
DISCOVERY_PRIORITY = -10  # a discovery waits while a takeover is queued
HOST_DISCOVERY_QUEUE = "host_discoveries"  # workers of the previous version do not fetch from it
HOST_DISCOVERY = "discover_host"  # Procrastinate task; argument: id of a host
HOST_DISCOVERY_ARGUMENT = "host_id"
WEBHOOK = "send_webhook"  # Procrastinate task; argument: a CloudEvent
WEBHOOK_ARGUMENT = "event"
REQUEST_END = "announce_request_end"  # Procrastinate task; argument: id of a request that may have ended
REQUEST_END_ARGUMENT = "request_id"
MAX_ATTEMPTS, RETRY_DELAY = 5, 0.3  # of a statement after a lost connection; seconds


class Queue:
    """Puts jobs on the queue and cancels them; a worker executes the jobs of `app`.

    `sends_webhooks`: the end of a task instance is announced.
    """

    def __init__(self, app: App, *, sends_webhooks: bool = False) -> None:
        self.app = app
        self.sends_webhooks = sends_webhooks

    async def defer(self, connection: Connection, hosts: Mapping[int, int]) -> None:
        """Put a job for each task instance (id → host id) on the queue, in the caller's transaction.

        Jobs of one host share a queue lock, so that they run one after the other, across all workers.
        """
        await self._defer(connection, hosts, QUEUE)

    async def hold(self, connection: Connection, hosts: Mapping[int, int]) -> None:
        """Put a job for each task instance (id → host id) on the queue of held jobs.

        A worker of the previous version finds that these task instances have a job, and starts none of its own.
        """
        await self._defer(connection, hosts, HELD_QUEUE)

    async def _defer(self, connection: Connection, hosts: Mapping[int, int], queue: str) -> None:
        jobs = [
            Job(queue=queue, lock=f"host-{host}", queueing_lock=None, task_name=RUN, task_kwargs={RUN_ARGUMENT: task})
            for task, host in hosts.items()
        ]
        await self.app.job_manager.batch_defer_jobs_async(jobs=jobs, connection=connection)

    async def defer_discoveries(self, connection: Connection, servers: Iterable[int]) -> None:
        """Put a discovery of each OBProxy server on the queue, in the caller's transaction."""
        jobs = [
            Job(
                queue=QUEUE,
                lock=None,
                queueing_lock=None,
                priority=DISCOVERY_PRIORITY,
                task_name=DISCOVERY,
                task_kwargs={DISCOVERY_ARGUMENT: server},
            )
            for server in servers
        ]
        if jobs:
            await self.app.job_manager.batch_defer_jobs_async(jobs=jobs, connection=connection)

    async def defer_host_discoveries(self, connection: Connection, hosts: Iterable[int]) -> None:
        """Put a discovery of each host on the queue, in the caller's transaction.

        A host has one discovery at a time, so that repeated requests for one that does not answer delay no other host.
        """
        jobs = [
            Job(
                queue=HOST_DISCOVERY_QUEUE,
                lock=f"discovery-{host}",
                queueing_lock=None,
                task_name=HOST_DISCOVERY,
                task_kwargs={HOST_DISCOVERY_ARGUMENT: host},
            )
            for host in hosts
        ]
        if jobs:
            await self.app.job_manager.batch_defer_jobs_async(jobs=jobs, connection=connection)

    async def defer_webhook(self, connection: Connection, event: JSON) -> None:
        """Put the sending of a CloudEvent on the queue, in the caller's transaction."""
        await self._defer_webhook_job(connection, WEBHOOK, {WEBHOOK_ARGUMENT: event})

    async def defer_request_end(self, connection: Connection, request_id: int) -> None:
        """Put a job on the queue that announces the end of a request if it has ended, in the caller's transaction."""
        await self._defer_webhook_job(connection, REQUEST_END, {REQUEST_END_ARGUMENT: request_id})

    async def _defer_webhook_job(self, connection: Connection, task: str, arguments: JSON) -> None:
        job = Job(
            queue=WEBHOOK_QUEUE,
            lock=None,
            queueing_lock=None,
            task_name=task,
            task_kwargs=arguments,
        )
        await self.app.job_manager.batch_defer_jobs_async(jobs=[job], connection=connection)

    async def abort_jobs(self, jobs: Sequence[int]) -> None:
        """Request cancellation of running jobs; NOTIFY reaches their workers."""
        for job in jobs:
            await self.app.job_manager.cancel_job_by_id_async(job, abort=True)


class RetryingConnector(PsycopgConnector):
    """A connector that retries a statement after a lost connection or contention.

    Procrastinate records the end of a job only once. If that were lost, the job would stay with a live worker, so it
    would never be stalled, and the next job of its host would wait forever. A longer outage ends the worker; then its
    heartbeat expires.
    """

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Execute a statement without a result; raise ConnectorException."""
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                await super().execute_query_async(query, **arguments)
            except ConnectorException as error:
                if not (is_lost(error) or is_contention(error)):
                    raise
                await asyncio.sleep(RETRY_DELAY)
            else:
                return
        await super().execute_query_async(query, **arguments)


class OwnedJobManager(JobManager):
    """A job manager that finishes or requeues a job only while the job belongs to the worker that fetched it.

    A suspended worker may resume after its job was requeued and fetched by another worker.
    """

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """Finish a job; do nothing when another worker has it."""
        await self._execute("finish_own_job", job, end_status=status.value, delete_job=delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Requeue a job; do nothing when another worker has it.

        The delay counts from the time of the database, which may differ from that of this machine.
        """
        delay = (retry_at - utils.utcnow()).total_seconds() if retry_at else 0.0
        values = {"delay": max(delay, 0.0), "new_priority": priority, "new_queue_name": queue, "new_lock": lock}
        await self._execute("retry_own_job", job, **values)

    async def _execute(self, query: str, job: Job, **values: Any) -> None:
        await self.connector.execute_query_async(queries()[query], **job_ownership(job), **values)


def job_ownership(job: Job) -> dict[str, Any]:
    """Return the parameters of the queries about own jobs: job, worker and attempt."""
    return {"job_id": job.id, "worker_id": job.worker_id, "attempts": job.attempts}


@asynccontextmanager
async def open_queue(database: Database, *, sends_webhooks: bool = False) -> AsyncIterator[Queue]:
    """Open the queue in `database`, on the same pool."""
    app = App(connector=RetryingConnector())
    app.job_manager = OwnedJobManager(app.connector)
    async with app.open_async(database.pool):
        yield Queue(app, sends_webhooks=sends_webhooks)
