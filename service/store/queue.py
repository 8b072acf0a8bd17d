"""The queue: jobs that say "this task instance wants a worker". All of it is Procrastinate's (design: decision 2)."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, LiteralString

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

from service.store.database import Connection, Database
from service.store.database_errors import is_contention, is_lost
from service.store.sql import queries

QUEUE = "takeover"
RUN_ARGUMENT = "task_instance_id"
RUN = "run_task_instance"  # Procrastinate's name for the kind of job; its only argument is the task instance's id
DISCOVERY = "look_at_server"  # another kind of job; its only argument is the OBProxy server's id
DISCOVERY_ARGUMENT = "server_id"
DISCOVERY_PRIORITY = -10  # priority: a look waits until no takeover does
MAX_ATTEMPTS, RETRY_DELAY = 5, 0.3  # of a statement whose connection is lost, and seconds between two of them


class Queue:
    """The writing end; a worker reads from `app`."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def defer(self, connection: Connection, hosts: Mapping[int, int]) -> None:
        """Put a job for each task instance (id → host id) on the queue, in the caller's transaction.

        Jobs of one host share a lock, so that they run one after the other on whatever worker.
        """
        jobs = [
            Job(queue=QUEUE, lock=f"host-{host}", queueing_lock=None, task_name=RUN, task_kwargs={RUN_ARGUMENT: task})
            for task, host in hosts.items()
        ]
        await self.app.job_manager.batch_defer_jobs_async(jobs=jobs, connection=connection)

    async def defer_discoveries(self, connection: Connection, servers: Iterable[int]) -> None:
        """Put a look at each OBProxy server on the queue, in the caller's transaction."""
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

    async def abort_jobs(self, jobs: Sequence[int]) -> None:
        """Ask whoever does these jobs to stop; it hears of it by NOTIFY, wherever it runs."""
        for job in jobs:
            await self.app.job_manager.cancel_job_by_id_async(job, abort=True)


class RetryingConnector(PsycopgConnector):
    """Procrastinate's, which says again what a lost connection may have swallowed.

    A worker says only once that a job is over. Were that lost, the job would stay with a worker that lives, so nobody
    would take it for stalled, and the next one of its host would wait for it for ever. A database that is away for
    longer ends the worker, whose jobs are found by its silence.
    """

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Execute a statement without a result; raises ConnectorException."""
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
    """Procrastinate's, which ends or requeues a job only as long as it belongs to the worker that fetched it.

    A worker that stood still for a while may come to that when another one does the job.
    """

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """End a job; nothing happens when it is another worker's by now."""
        await self._execute("finish_own_job", job, end_status=status.value, delete_job=delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Put a job back on the queue; nothing happens when it is another worker's by now."""
        values = {"retry_at": retry_at, "new_priority": priority, "new_queue_name": queue, "new_lock": lock}
        await self._execute("retry_own_job", job, **values)

    async def _execute(self, query: str, job: Job, **values: Any) -> None:
        await self.connector.execute_query_async(queries()[query], **job_ownership(job), **values)


def job_ownership(job: Job) -> dict[str, Any]:
    """Return what identifies this attempt at a job, by this worker; parameters of the queries about own jobs."""
    return {"job_id": job.id, "worker_id": job.worker_id, "attempts": job.attempts}


@asynccontextmanager
async def open_queue(database: Database) -> AsyncIterator[Queue]:
    """The queue in `database`, on the same pool."""
    app = App(connector=RetryingConnector())
    app.job_manager = OwnedJobManager(app.connector)
    async with app.open_async(database.pool):
        yield Queue(app)
