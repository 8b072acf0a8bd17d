"""One job: what remains of a task instance becomes a run, and however that ends, its document says so."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from procrastinate.jobs import Job

from service.model import transitions
from service.model.errors import TakeoverError, UnknownCluster, UnknownHost
from service.model.fleet import ObproxyServer
from service.model.tasks import Subtask, TaskInstance, TaskStatus
from service.model.workflow import TAKEOVER
from service.observe import tracing
from service.observe.logs import about
from service.observe.metrics import RUNS_ENDED
from service.outcome import run_progress
from service.outcome.run_progress import Code, Ended, RunEnd, Verdict
from service.runs import run
from service.runs.files import Given
from service.runs.leftovers import Question
from service.runs.run import RunRequest
from service.store.database import Connection, execute, fetch, fetch_as
from service.store.database_errors import retry_contention
from service.store.queue import owner
from service.tasks import instances
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.worker.leases import Leases
from service.worker.supervisor import Limit, Stop, Supervisor

log = logging.getLogger(__name__)


class NotNow(Exception):
    """A job that this worker hands back for a while: another one may do it, or it may itself later."""


async def perform(
    resources: Resources, task_id: int, *, job: Job, leases: Leases, is_canceled: Callable[[], bool] = lambda: False
) -> None:
    """Run what remains of a task instance, as this attempt at its job.

    Being cancelled ends the run. `is_canceled` then tells a person's wish from a worker that is being stopped.
    """
    task, subtasks = await instances.get(resources.database, task_id)
    if task.status is not TaskStatus.RUNNING:
        return
    if unknown := {subtask.role for subtask in subtasks} - set(resources.workflows[TAKEOVER].roles):
        raise NotNow(f"Task instance {task_id} is of another version: this one has no role {sorted(unknown)}")
    with (
        about(trace_id=task.trace_id, task_id=task_id),
        tracing.span("job", task.trace_id, task_instance_id=task_id, operation=task.operation),
    ):
        await _perform(resources, task_id, job, leases, is_canceled)


async def _perform(
    resources: Resources, task_id: int, job: Job, leases: Leases, is_canceled: Callable[[], bool]
) -> None:
    recorder = Recorder(resources.database, task_id, resources.executor)
    if not await recorder.expire(leases.expiry.runs()):
        raise NotNow(f"Task instance {task_id} has a run that a worker holds")
    await recorder.complete_skipped()
    task, subtasks = await instances.get(resources.database, task_id)
    if task.status is not TaskStatus.RUNNING:
        return
    try:
        request = await _request(resources, task, subtasks)
    except TakeoverError as error:
        role = transitions.to_run(task.operation, subtasks)[0].role
        failed = _failed(role, "NOT_STARTED", str(error))
        await recorder.record([failed], precondition=partial(_raise_if_moved_on, task, subtasks, job))
        return
    request = await _insert_run(resources, task, subtasks, request, job, leases.expiry.runs())
    with (
        about(run=request.ident),
        tracing.span("run", ident=request.ident, playbook=request.playbook.name, host=request.given.host.name),
    ):
        await _run(resources, task, subtasks, request, leases, is_canceled)


async def _run(
    resources: Resources,
    task: TaskInstance,
    subtasks: list[Subtask],
    request: RunRequest,
    leases: Leases,
    is_canceled: Callable[[], bool],
) -> None:
    recorder = Recorder(resources.database, task.id, resources.executor, run=request.ident)
    supervisor = Supervisor(
        lambda: run.start(request),
        recorder,
        run_progress.begin(request.roles, request.given.host.name, job_id=request.token),
        {subtask.role: Limit(subtask.timeout, subtask.spent) for subtask in subtasks},
        Question(request),
    )
    with leases.holding(request.ident, supervisor):
        following = asyncio.create_task(_follow(supervisor, recorder, request), name=f"run-{request.ident}")
        canceled = False
        while not following.done():
            try:
                await asyncio.shield(following)
            except asyncio.CancelledError:  # possibly more than once: by a person, then by the worker's end
                canceled = True
                supervisor.stop(Stop.CANCELED if is_canceled() else Stop.WORKER)
    following.result()
    if canceled and not is_canceled():  # a person's cancel has done what was asked: the job is done
        raise asyncio.CancelledError


async def _follow(supervisor: Supervisor, recorder: Recorder, request: RunRequest) -> None:
    try:
        end = await supervisor.follow()
        RUNS_ENDED.labels(end.status or "lost").inc()
    except Exception as error:  # a process loop: whatever it is, the task instance must not stay RUNNING
        log.exception("Following run %s failed", request.ident, extra={"action": "run_lost"})
        reason = f"The service failed: {type(error).__name__}."
        failed = _failed(supervisor.role or request.roles[0], "INTERRUPTED", reason)
        await recorder.record([failed], RunEnd(rc=None, status=None))


@retry_contention
async def _insert_run(
    resources: Resources,
    task: TaskInstance,
    subtasks: list[Subtask],
    request: RunRequest,
    job: Job,
    expired: Mapping[str, datetime],
) -> RunRequest:
    """Count the run as alive from now on, and return its request with the time of that.

    Raises NotNow when its OBProxy cluster has as many runs as it may have, or when this worker stood still and others
    have gone on meanwhile.
    """
    renewed = time.monotonic()  # before the database's: the run's lease rather ends early
    async with resources.database.transaction() as connection:
        # Taken where any number may run as well: another worker may just be counting, for one that has to be alone.
        await execute(connection, "lock_cluster_concurrency", cluster_id=request.given.cluster.id)
        if limit := await instances.concurrency_limit(connection, resources, request.given.cluster):
            leases = {"idents": [*expired], "stamps": [*expired.values()]}
            (alive,) = await fetch(
                connection, "count_leased_runs_of_cluster", cluster_id=request.given.cluster.id, **leases
            )
            if alive["alive"] >= limit:
                raise NotNow(f"OBProxy cluster {request.given.cluster.name} has {limit} takeovers running")
        found = await fetch_as(connection, TaskInstance, "lock_task", task_id=task.id)
        found_subtasks = await fetch_as(connection, Subtask, "subtasks_of_tasks", task_ids=[task.id])
        await _raise_if_moved_on(task, subtasks, job, connection, found, found_subtasks)
        await execute(connection, "insert_run", ident=request.ident, task_id=task.id, executor=resources.executor)
    return replace(request, renewed=renewed)


async def _raise_if_moved_on(
    task: TaskInstance,
    subtasks: Sequence[Subtask],
    job: Job,
    connection: Connection,
    found: Sequence[TaskInstance],
    found_subtasks: Sequence[Subtask],
) -> None:
    """Raise NotNow unless the job is this worker's, and the locked task instance is as it was read, without a run."""
    if not await fetch(connection, "lock_own_job", **owner(job)):
        raise NotNow(f"Job {job.id} of task instance {task.id} is another worker's by now")
    if [task] != [*found] or [*subtasks] != [*found_subtasks]:
        raise NotNow(f"Task instance {task.id} has changed since it was read")
    if await fetch(connection, "unfinished_runs_of_task", task_id=task.id):
        raise NotNow(f"Task instance {task.id} has a run that a worker holds")


async def _request(resources: Resources, task: TaskInstance, subtasks: list[Subtask]) -> RunRequest:
    inventory = await resources.inventory.current()
    cluster_id = int(task.context["stringMap"]["obproxy_cluster_id"])
    async with resources.database.transaction() as connection:
        (server,) = await fetch_as(connection, ObproxyServer, "server_by_id", server_id=task.obproxy_server_id)
        secrets = await fetch(connection, "secrets_of_task", task_id=task.id)
    if task.host_id not in inventory.hosts:
        raise UnknownHost(host_id=task.host_id)
    if cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=cluster_id)
    workflow = resources.workflows[TAKEOVER]
    return RunRequest(
        ident=str(uuid.uuid4()),
        playbook=workflow.playbook_for(task.operation),
        roles=[subtask.role for subtask in transitions.to_run(task.operation, subtasks)],
        given=Given(
            host=inventory.hosts[task.host_id],
            cluster=inventory.clusters[cluster_id],
            sql_port=server.sql_port,
            allow_restart=task.allow_restart,
            sealed=resources.secrets.sealed({row["name"]: row["ciphertext"] for row in secrets}),
        ),
        reading=inventory.reading,
        start=resources.settings.run_start,
    )


def _failed(role: str, code: Code, message: str) -> Ended:
    return Ended(role=role, verdict=Verdict.FAILED, code=code, message=message)
