"""Executes one queue job: starts a run for the remaining subtasks of a task instance and records its outcome."""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import ClassVar

from procrastinate.jobs import Job

from service.inventory.snapshot import InventorySnapshot
from service.model import transitions
from service.model.errors import TakeoverError, UnknownCluster, UnknownHost
from service.model.fleet import ObproxyServer
from service.model.tasks import ALLOW_COLD_RESTART, RESTART_ID, SQL_PORT, Subtask, TaskInstance, TaskStatus
from service.model.workflow import RESTART
from service.observe import tracing
from service.observe.logs import log_context
from service.observe.metrics import RUNS_ENDED
from service.outcome import run_progress
from service.outcome.run_progress import Code, Ended, RunEnd, Verdict
from service.runs import run
from service.runs.leftovers import LeftoverCheck
from service.runs.spec import RunInputs, RunSpec
from service.store.database import Connection, execute, fetch, fetch_as
from service.store.database_errors import retry_contention
from service.store.queue import job_ownership
from service.tasks import instances, waiting
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.worker.leases import Leases
from service.worker.supervisor import StopReason, Supervisor, TimeLimit

log = logging.getLogger(__name__)


REQUEUE_DELAY = 2.0  # seconds until a postponed job is fetched again
MAX_REQUEUE_DELAY = 300.0  # seconds
MAX_ATTEMPT_RATE = 20.0  # attempts per second of all jobs that wait for the runs of one OBProxy cluster


class JobPostponed(Exception):
    """The job cannot be executed now and is requeued with a delay in seconds; any worker may then execute it."""

    is_expected: ClassVar = True  # no traceback in the log

    def __init__(self, reason: str = "", *, delay: float = REQUEUE_DELAY) -> None:
        super().__init__(reason)
        self.delay = delay


async def perform(
    resources: Resources, task_id: int, *, job: Job, leases: Leases, is_canceled: Callable[[], bool] = lambda: False
) -> None:
    """Run the remaining subtasks of a task instance, as this attempt at its job; raises JobPostponed.

    Cancelling this coroutine ends the run. `is_canceled` then returns whether a user canceled the task instance, or the
    worker is being stopped.
    """
    task, subtasks = await instances.get(resources.database, task_id)
    if task.status is not TaskStatus.RUNNING:
        return
    workflow = resources.workflows.get(task.workflow)
    if workflow is None:
        raise JobPostponed(f"Task instance {task_id} is of another version: this one has no workflow {task.workflow}")
    if unknown := {subtask.role for subtask in subtasks} - set(workflow.roles):
        raise JobPostponed(f"Task instance {task_id} is of another version: this one has no role {sorted(unknown)}")
    with (
        log_context(trace_id=task.trace_id, task_id=task_id),
        tracing.span("job", task.trace_id, task_instance_id=task_id, operation=task.operation),
    ):
        await _perform(resources, task_id, job, leases, is_canceled)


async def _perform(
    resources: Resources, task_id: int, job: Job, leases: Leases, is_canceled: Callable[[], bool]
) -> None:
    recorder = Recorder(resources, task_id)
    if not await recorder.expire(leases.expiry.expired_runs()):
        raise JobPostponed(f"Task instance {task_id} has a run with a valid lease")
    await recorder.complete_skipped()
    task, subtasks = await instances.get(resources.database, task_id)
    if task.status is not TaskStatus.RUNNING:
        return
    try:
        spec, snapshot = await _run_spec(resources, task, subtasks)
    except TakeoverError as error:
        role = transitions.remaining(task.operation, subtasks)[0].role
        failed = _failed(role, "NOT_STARTED", str(error))
        await recorder.record([failed], precondition=partial(_raise_if_stale, task, subtasks, job))
        return
    spec = await _insert_run(resources, task, subtasks, spec, job, leases.expiry.expired_runs())
    with (
        log_context(run=spec.ident),
        tracing.span("run", ident=spec.ident, playbook=spec.playbook.name, host=spec.inputs.host.name),
    ):
        await _run(resources, task, subtasks, spec, snapshot, leases, is_canceled)


async def _run(
    resources: Resources,
    task: TaskInstance,
    subtasks: list[Subtask],
    spec: RunSpec,
    snapshot: InventorySnapshot,
    leases: Leases,
    is_canceled: Callable[[], bool],
) -> None:
    recorder = Recorder(resources, task.id, run=spec.ident)
    supervisor = Supervisor(
        lambda: run.start(spec, snapshot),
        recorder,
        run_progress.begin(spec.roles, spec.inputs.host.name, token=spec.token, check=spec.check),
        {subtask.role: TimeLimit(subtask.timeout, subtask.spent) for subtask in subtasks},
        LeftoverCheck(spec, snapshot),
    )
    with leases.holding(spec.ident, supervisor):
        following = asyncio.create_task(_follow(supervisor, recorder, spec), name=f"run-{spec.ident}")
        canceled = False
        while not following.done():
            try:
                await asyncio.shield(following)
            except asyncio.CancelledError:  # possibly more than once: by a user, then by the worker's shutdown
                canceled = True
                supervisor.stop(StopReason.CANCELED if is_canceled() else StopReason.WORKER_STOPPING)
    following.result()
    if canceled and not is_canceled():  # a job that a user canceled is done
        raise asyncio.CancelledError


async def _follow(supervisor: Supervisor, recorder: Recorder, spec: RunSpec) -> None:
    try:
        end = await supervisor.follow()
        RUNS_ENDED.labels(end.status or "lost").inc()
    except Exception as error:  # the task instance must not stay RUNNING, whatever has failed
        log.exception("Supervision of run %s failed", spec.ident, extra={"action": "run_lost"})
        reason = f"The service failed: {type(error).__name__}."
        failed = _failed(supervisor.role or spec.roles[0], "INTERRUPTED", reason)
        await recorder.record([failed], RunEnd(rc=None, status=None))


@retry_contention
async def _insert_run(
    resources: Resources,
    task: TaskInstance,
    subtasks: list[Subtask],
    spec: RunSpec,
    job: Job,
    expired: Mapping[str, datetime],
) -> RunSpec:
    """Insert the run's row, which starts its lease; return `spec` with the time of that.

    Raises JobPostponed when the OBProxy cluster has its maximum of runs, or when this worker was suspended and another
    one has taken over the job.
    """
    renewed = time.monotonic()  # before the database's time: the lease in the child must not end later
    cluster = spec.inputs.cluster
    assert cluster is not None, "a task instance belongs to an OBProxy cluster"
    async with resources.database.transaction() as connection:
        # Without a limit too: another worker may be counting the runs of this cluster for a run that must be alone.
        await execute(connection, "lock_cluster_concurrency", cluster_id=cluster.id)
        if not spec.check and (limit := await waiting.concurrency_limit(connection, resources, cluster)):
            leases = {"idents": [*expired], "stamps": [*expired.values()]}
            (alive,) = await fetch(connection, "count_leased_runs_of_cluster", cluster_id=cluster.id, **leases)
            if alive["alive"] >= limit:
                (started,) = await fetch(connection, "count_started_tasks_of_cluster", cluster_id=cluster.id)
                raise JobPostponed(
                    f"OBProxy cluster {cluster.name} has {limit} takeovers running",
                    delay=delay_in_full_cluster(started["total"] - alive["alive"]),
                )
        found = await fetch_as(connection, TaskInstance, "lock_task", task_id=task.id)
        found_subtasks = await fetch_as(connection, Subtask, "subtasks_of_tasks", task_ids=[task.id])
        await _raise_if_stale(task, subtasks, job, connection, found, found_subtasks)
        await execute(connection, "insert_run", ident=spec.ident, task_id=task.id, executor=resources.executor)
        if status := resources.workflows[task.workflow].run_status:
            await execute(connection, "mark_servers_operating", server_ids=[task.obproxy_server_id], status=status)
    return replace(spec, renewed=renewed)


def delay_in_full_cluster(waiting: int) -> float:
    """Return the delay of one of the jobs that wait for the runs of an OBProxy cluster.

    It grows with their number: their attempts must leave room for the jobs of other clusters. It is random, so that
    one of them is never far from its next attempt.
    """
    longest = 2 * waiting / MAX_ATTEMPT_RATE - REQUEUE_DELAY
    return random.uniform(REQUEUE_DELAY, min(max(longest, REQUEUE_DELAY), MAX_REQUEUE_DELAY))  # noqa: S311 - no secret


async def _raise_if_stale(
    task: TaskInstance,
    subtasks: Sequence[Subtask],
    job: Job,
    connection: Connection,
    found: Sequence[TaskInstance],
    found_subtasks: Sequence[Subtask],
) -> None:
    """Raise JobPostponed unless this worker owns the job and the locked task instance is unchanged and has no run."""
    if not await fetch(connection, "lock_own_job", **job_ownership(job)):
        raise JobPostponed(f"Job {job.id} of task instance {task.id} belongs to another worker by now")
    if [task] != [*found] or [*subtasks] != [*found_subtasks]:
        raise JobPostponed(f"Task instance {task.id} has changed since it was read")
    if await fetch(connection, "unfinished_runs_of_task", task_id=task.id):
        raise JobPostponed(f"Task instance {task.id} has a run with a valid lease")


async def _run_spec(
    resources: Resources, task: TaskInstance, subtasks: list[Subtask]
) -> tuple[RunSpec, InventorySnapshot]:
    inventory = await resources.inventory.current()
    cluster_id = int(task.context["stringMap"]["obproxy_cluster_id"])
    async with resources.database.transaction() as connection:
        servers = await fetch_as(connection, ObproxyServer, "server_by_id", server_id=task.obproxy_server_id)
        secrets = await fetch(connection, "secrets_of_task", task_id=task.id)
    if task.host_id not in inventory.hosts:
        raise UnknownHost(host_id=task.host_id)
    if cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=cluster_id)
    workflow = resources.workflows[task.workflow]
    host = inventory.hosts[task.host_id]
    restarts = workflow.name == RESTART
    spec = RunSpec(
        ident=str(uuid.uuid4()),
        playbook=workflow.playbook_for(task.operation),
        roles=[subtask.role for subtask in transitions.remaining(task.operation, subtasks)],
        inputs=RunInputs(
            host=host,
            cluster=inventory.clusters[cluster_id],
            sql_port=servers[0].sql_port if servers else int(task.context["stringMap"][SQL_PORT]),
            # The inventory may have changed since the request, which a prohibition for the host overrides.
            allow_restart=False if restarts and host.forbids_restart else task.allow_restart,
            encrypted_secrets=resources.secrets.bundle({row["name"]: row["ciphertext"] for row in secrets}),
            variables=_restart_variables(task) if restarts else {},
        ),
        check=workflow.check,
        start=resources.settings.run_start,
    )
    return spec, inventory.snapshot


def _restart_variables(task: TaskInstance) -> dict[str, object]:
    """Return the variables of a restart: a retry does not restart the OBProxy again."""
    permission = {ALLOW_COLD_RESTART: True} if task.allows_cold_restart else {}
    return {RESTART_ID: task.context["stringMap"][RESTART_ID], **permission}


def _failed(role: str, code: Code, message: str) -> Ended:
    return Ended(role=role, verdict=Verdict.FAILED, code=code, message=message)
