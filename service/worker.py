"""Doing the work: a job of the queue becomes a run, its events become rows, and nothing it leaves is lost."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from service import events, instances, run
from service.database import execute, fetch, fetch_as
from service.errors import TakeoverError, UnknownCluster, UnknownHost
from service.events import Ended, RunEnd, Verdict
from service.masking import masker
from service.queue import QUEUE, TASK
from service.recorder import Recorder, remaining
from service.resources import Resources
from service.run import RunRequest
from service.types import ObproxyServer, Subtask, TaskInstance, TaskStatus

log = logging.getLogger(__name__)

RECOVERY_INTERVAL = 10.0  # seconds between two looks for what a dead worker left
STALLED = 30.0  # seconds without a heartbeat after which a worker counts as dead
WORKER_DIED = "The worker that ran it has died. What the run did on the host until then stays; it is looked at anew."
SHUTDOWN_GRACE = 5.0  # seconds a stopping worker lets its runs go on before it ends them


@asynccontextmanager
async def running(resources: Resources) -> AsyncIterator[None]:
    """A worker beside whatever else the process does; at the end its runs are ended and recorded."""
    app = resources.queue.app

    @app.task(name=TASK, queue=QUEUE)
    async def run_task_instance(task_instance_id: int) -> None:
        await perform(resources, task_instance_id)

    await asyncio.to_thread(run.sweep)
    await asyncio.to_thread(run.ensure_server)
    worker = asyncio.create_task(
        app.run_worker_async(
            queues=[QUEUE],
            name=resources.executor,
            concurrency=resources.settings.worker_concurrency,
            shutdown_graceful_timeout=SHUTDOWN_GRACE,
            install_signal_handlers=False,
            delete_jobs="successful",
        ),
        name="worker",
    )
    recovery = asyncio.create_task(_recover_forever(resources), name="recovery")
    try:
        yield
    finally:
        for task in (recovery, worker):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def perform(resources: Resources, task_id: int) -> None:
    """Run what remains of a task instance; however that ends, its document says so."""
    task, subtasks = await instances.get(resources.database, task_id)
    if task.status is not TaskStatus.RUNNING:
        return
    task = replace(task, executor=resources.executor)
    if await _end_dead_runs(resources, task):
        await _fail(resources, task, subtasks, "INTERRUPTED", WORKER_DIED)
        return
    try:
        request = await _request(resources, task, subtasks)
    except TakeoverError as error:
        await _fail(resources, task, subtasks, "NOT_STARTED", str(error))
        return
    following = asyncio.create_task(_follow(resources, task, subtasks, request), name=f"run-{request.ident}")
    try:
        await asyncio.shield(following)
    except asyncio.CancelledError:
        following.cancel()
        await following
        raise


async def _follow(resources: Resources, task: TaskInstance, subtasks: Sequence[Subtask], request: RunRequest) -> None:
    """Start a run and record it to its end; being cancelled ends the run, not the recording."""
    async with resources.database.transaction() as connection:
        await execute(connection, "insert_run", ident=request.ident, task_id=task.id, executor=task.executor)
    started = await asyncio.to_thread(run.start, request)
    recorder = Recorder(resources.database, task, subtasks, _mask(request))
    stopping = asyncio.Event()
    recording = asyncio.create_task(_record(started, request, recorder, stopping))
    try:
        end = await asyncio.shield(recording)
    except asyncio.CancelledError:
        stopping.set()
        started.cancel()
        end = await recording
    async with resources.database.transaction() as connection:
        await execute(connection, "finish_run", ident=request.ident, rc=end.rc)


async def _record(started: run.Run, request: RunRequest, recorder: Recorder, stopping: asyncio.Event) -> RunEnd:
    progress = events.begin(request.roles, request.host.name, job_id=request.token)
    async for batch, end in started.batches():
        changes: list[events.Change] = []
        for event in batch:
            progress, more = events.advance(progress, event)
            changes += more
        if end is not None:
            if stopping.is_set():  # nobody asked for the end of this run: its worker goes away
                end = replace(end, rc=None, status=None, canceled=False)
            changes += events.finish(progress, end)
        await recorder.record(changes)
        if end is not None:
            return end
    raise AssertionError("a run's last batch carries its end")


async def _request(resources: Resources, task: TaskInstance, subtasks: Sequence[Subtask]) -> RunRequest:
    inventory = await resources.inventory.current()
    cluster_id = int(task.context["stringMap"]["obproxy_cluster_id"])
    async with resources.database.transaction() as connection:
        (server,) = await fetch_as(connection, ObproxyServer, "server", server_id=task.obproxy_server_id)
        secrets = await fetch(connection, "secrets", task_id=task.id)
    if task.host_id not in inventory.hosts:
        raise UnknownHost(host_id=task.host_id)
    if cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=cluster_id)
    return RunRequest(
        ident=str(uuid.uuid4()),
        playbook=resources.template.playbook,
        roles=[subtask.role for subtask in remaining(subtasks)],
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


async def _fail(
    resources: Resources, task: TaskInstance, subtasks: Sequence[Subtask], code: events.Code, message: str
) -> None:
    first = remaining(subtasks)[0]
    verdict = Ended(role=first.role, verdict=Verdict.FAILED, code=code, message=message)
    await Recorder(resources.database, task, subtasks, str).record([verdict])


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
