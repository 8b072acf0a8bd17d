"""The queue: jobs that say "this task instance wants a worker". All of it is Procrastinate's (design: decision 2)."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Job

from service.database import Connection, Database

QUEUE = "takeover"
TASK_ARGUMENT = "task_instance_id"
TASK = "run_task_instance"  # Procrastinate's name for the kind of job; its only argument is the task instance's id
LOOK = "look_at_server"  # another kind of job; its only argument is the OBProxy server's id
SERVER_ARGUMENT = "server_id"
LATER = -10  # priority: a look waits until no takeover does


class Queue:
    """The writing end; a worker reads from `app`."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def defer(self, connection: Connection, hosts: Mapping[int, int]) -> None:
        """Put a job for each task instance (id → host id) on the queue, in the caller's transaction.

        Jobs of one host share a lock, so that they run one after the other on whatever worker.
        """
        jobs = [
            Job(queue=QUEUE, lock=f"host-{host}", queueing_lock=None, task_name=TASK, task_kwargs={TASK_ARGUMENT: task})
            for task, host in hosts.items()
        ]
        await self.app.job_manager.batch_defer_jobs_async(jobs=jobs, connection=connection)

    async def defer_looks(self, connection: Connection, servers: Iterable[int]) -> None:
        """Put a look at each OBProxy server on the queue, in the caller's transaction."""
        jobs = [
            Job(
                queue=QUEUE,
                lock=None,
                queueing_lock=None,
                priority=LATER,
                task_name=LOOK,
                task_kwargs={SERVER_ARGUMENT: server},
            )
            for server in servers
        ]
        if jobs:
            await self.app.job_manager.batch_defer_jobs_async(jobs=jobs, connection=connection)

    async def abort(self, jobs: Sequence[int]) -> None:
        """Ask whoever does these jobs to stop; it hears of it by NOTIFY, wherever it runs."""
        for job in jobs:
            await self.app.job_manager.cancel_job_by_id_async(job, abort=True)


@asynccontextmanager
async def open_queue(database: Database) -> AsyncIterator[Queue]:
    """The queue in `database`, on the same pool."""
    app = App(connector=PsycopgConnector())
    async with app.open_async(database.pool):
        yield Queue(app)
