"""Doing the work: a job of the queue becomes a run, and nothing that a dead worker leaves is lost."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from procrastinate import App, BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job

from service import events, instances, retention, run, state
from service.database import execute, fetch, fetch_as
from service.errors import TakeoverError, UnknownCluster, UnknownHost
from service.events import Code, Ended, Verdict
from service.masking import masker
from service.queue import QUEUE, TASK, open_queue
from service.recorder import Recorder
from service.resources import Resources
from service.run import RunRequest
from service.supervisor import Stop, Supervisor
from service.types import ObproxyServer, Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus

log = logging.getLogger(__name__)

RECOVERY_INTERVAL = 10.0  # seconds between two looks for what a dead worker left
HANDED_BACK_FOR = 2  # seconds a job rests that no worker may do now
STALLED = 30.0  # seconds without a heartbeat after which a worker counts as dead

WORKER_DIED = "The worker that ran it has died. What the run did on the host until then stays; a retry looks anew."


class NotNow(Exception):
    """A job that this worker hands back for a while: another one may do it, or it may itself later."""


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

    @app.task(name=TASK, queue=QUEUE, pass_context=True, retry=HandBack())
    async def run_task_instance(context: JobContext, task_instance_id: int) -> None:
        await perform(
            resources, task_instance_id, is_canceled=lambda: context.abort_reason() is AbortReason.USER_REQUEST
        )

    @app.periodic(cron="17 * * * *")
    @app.task(name="retention", queue=QUEUE, queueing_lock="retention")
    async def remove_what_is_old(timestamp: int) -> None:
        await retention.apply(resources)

    await asyncio.to_thread(run.sweep)
    await asyncio.to_thread(run.ensure_server)
    worker = asyncio.create_task(
        app.run_worker_async(
            queues=[QUEUE],
            name=resources.executor,
            concurrency=resources.settings.worker_concurrency,
            shutdown_graceful_timeout=resources.settings.shutdown_grace,
            install_signal_handlers=False,
            delete_jobs="successful",
        ),
        name="worker",
    )
    recovery = asyncio.create_task(_recover_forever(resources), name="recovery")
    return [recovery, worker]


async def perform(resources: Resources, task_id: int, *, is_canceled: Callable[[], bool] = lambda: False) -> None:
    """Run what remains of a task instance; however that ends, its document says so.

    Being cancelled ends the run. `is_canceled` then tells a person's wish from a worker that is being stopped.
    """
    task, subtasks = await instances.get(resources.database, task_id)
    if task.status is not TaskStatus.RUNNING:
        return
    if unknown := {subtask.role for subtask in subtasks} - {known.role for known in resources.template.subtasks}:
        raise NotNow(f"Task instance {task_id} is of another version: this one has no role {sorted(unknown)}")
    if await _end_dead_runs(resources, task):
        canceling = any(subtask.status is SubtaskStatus.CANCELING for subtask in subtasks)
        await _fail(resources, task_id, "CANCELED" if canceling else "INTERRUPTED", WORKER_DIED)
        return
    await Recorder(resources.database, task_id, resources.executor).pass_skipped()
    task, subtasks = await instances.get(resources.database, task_id)
    if task.status is not TaskStatus.RUNNING:
        return
    try:
        request = await _request(resources, task, subtasks)
    except TakeoverError as error:
        await _fail(resources, task_id, "NOT_STARTED", str(error))
        return
    await _run(resources, task, subtasks, request, is_canceled)


async def _run(
    resources: Resources,
    task: TaskInstance,
    subtasks: list[Subtask],
    request: RunRequest,
    is_canceled: Callable[[], bool],
) -> None:
    await _insert_run(resources, task, request)
    started = await asyncio.to_thread(run.start, request)
    supervisor = Supervisor(
        started,
        Recorder(resources.database, task.id, resources.executor, _mask(request)),
        events.begin(request.roles, request.host.name, job_id=request.token),
        {subtask.role: subtask.timeout for subtask in subtasks},
    )
    following = asyncio.create_task(supervisor.follow(), name=f"run-{request.ident}")
    canceled = False
    try:
        end = await asyncio.shield(following)
    except asyncio.CancelledError:
        canceled = True
        supervisor.stop(Stop.CANCELED if is_canceled() else Stop.WORKER)
        end = await following
    except Exception as error:  # a process loop: whatever it is, the task instance must not stay RUNNING
        log.exception("Following run %s failed", request.ident, extra={"action": "run_lost"})
        if await _finish_run(resources, request, None):
            await _fail(resources, task.id, "INTERRUPTED", f"The service failed: {type(error).__name__}.")
        return
    await _finish_run(resources, request, end.rc)
    if canceled:
        raise asyncio.CancelledError


async def _insert_run(resources: Resources, task: TaskInstance, request: RunRequest) -> None:
    """The run counts as alive from now on; raises NotNow when its OBProxy cluster has as many as it may have."""
    limit = resources.settings.cluster_concurrency
    async with resources.database.transaction() as connection:
        if limit:
            await execute(connection, "lock_cluster", cluster_id=request.cluster.id)
            (alive,) = await fetch(connection, "runs_of_cluster", cluster_id=request.cluster.id)
            if alive["alive"] >= limit:
                raise NotNow(f"OBProxy cluster {request.cluster.name} has {limit} takeovers running")
        await execute(connection, "insert_run", ident=request.ident, task_id=task.id, executor=resources.executor)


async def _finish_run(resources: Resources, request: RunRequest, rc: int | None) -> bool:
    """Whether the run counted as alive until now; one that another worker took for dead has been answered for."""
    async with resources.database.transaction() as connection:
        return bool(await fetch(connection, "finish_run", ident=request.ident, rc=rc))


async def _request(resources: Resources, task: TaskInstance, subtasks: list[Subtask]) -> RunRequest:
    inventory = await resources.inventory.current()
    cluster_id = int(task.context["stringMap"]["obproxy_cluster_id"])
    async with resources.database.transaction() as connection:
        (server,) = await fetch_as(connection, ObproxyServer, "server", server_id=task.obproxy_server_id)
        secrets = await fetch(connection, "secrets", task_id=task.id)
    if task.host_id not in inventory.hosts:
        raise UnknownHost(host_id=task.host_id)
    if cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=cluster_id)
    template = resources.template
    return RunRequest(
        ident=str(uuid.uuid4()),
        playbook=template.rollback if task.operation is Operation.ROLLBACK else template.playbook,
        roles=[subtask.role for subtask in state.to_run(task.operation, subtasks)],
        host=inventory.hosts[task.host_id],
        cluster=inventory.clusters[cluster_id],
        sql_port=server.sql_port,
        secrets={row["name"]: resources.secrets.decrypt(row["ciphertext"]) for row in secrets},
    )


def _mask(request: RunRequest) -> Callable[[str], str]:
    given = {name: secret.get_secret_value() for name, secret in request.secrets.items()}
    return masker([request.host.variables, request.cluster.variables, given])


async def _end_dead_runs(resources: Resources, task: TaskInstance) -> bool:
    """Whether an earlier worker died in the middle of this task instance."""
    async with resources.database.transaction() as connection:
        return bool(await fetch(connection, "finish_runs_of_task", task_id=task.id))


async def _fail(resources: Resources, task_id: int, code: Code, message: str) -> None:
    """Fail what runs or was to run next."""
    task, subtasks = await instances.get(resources.database, task_id)
    first = state.to_run(task.operation, subtasks)[0]
    ended = Ended(role=first.role, verdict=Verdict.FAILED, code=code, message=message)
    await Recorder(resources.database, task_id, resources.executor).record([ended])


async def _recover_forever(resources: Resources) -> None:
    while True:
        try:
            await _recover(resources)
        except Exception:  # a process loop: the database may be gone for a while
            log.exception("Looking for stalled jobs failed", extra={"action": "recovery_failed"})
        await asyncio.sleep(RECOVERY_INTERVAL)


async def _recover(resources: Resources) -> None:
    """Put the jobs of dead workers back on the queue; `perform` finds out how far they had come."""
    manager = resources.queue.app.job_manager
    for job in await manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=STALLED):
        log.warning("Job %s lost its worker; running it again", job.id, extra={"action": "job_recovered"})
        await manager.retry_job(job)
    async with resources.database.transaction() as connection:
        canceling = await fetch(connection, "canceling_jobs")
        abandoned = await fetch(connection, "unfinished_tasks_without_job")
        # A job that ended without its task instance having ended: whatever went wrong, another try finds out.
        await resources.queue.defer(connection, {row["id"]: row["host_id"] for row in abandoned})
    await resources.queue.abort([row["id"] for row in canceling])
