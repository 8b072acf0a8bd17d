"""Records a run that was started by hand as a read-only task instance, in one transaction.

The same code as for runs of the service decides what the run's events mean for its subtasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from service.access.users import User
from service.inventory.records import Cluster, Host
from service.model.errors import InvalidRequest, SubError, UnknownCluster, UnknownHost
from service.model.fleet import ObproxyServer, ServerStatus
from service.model.tasks import EXTERNAL, Operation, TaskStatus
from service.model.transitions import PENDING, READY, SUCCESSFUL, SubtaskState
from service.model.workflow import Workflow, Workflows, of_playbook
from service.outcome import run_progress
from service.outcome.masking import Mask
from service.outcome.redaction import redact
from service.outcome.run_progress import Change, Ended, RunEnd, Verdict
from service.store.database import Connection, execute, fetch, fetch_as
from service.store.database_errors import retry_contention
from service.store.queue import Queue
from service.tasks import instances
from service.tasks.errors import AlreadyManaged, RunAlreadyRecorded
from service.tasks.insertion import insert_tasks
from service.tasks.instances import TaskWithSubtasks
from service.tasks.locked_task import lock_task
from service.tasks.resources import Resources
from service.tasks.submit import NO_SERVER, new_task

NOT_SELECTED_MESSAGE = "The run did not select this subtask (--tags, --skip-tags or --start-at-task)."

TimedChanges = Sequence[tuple[datetime, Change]]
"""Changes of a run's subtasks, each with its time."""


@dataclass(frozen=True, kw_only=True)
class ExternalRun:
    """The report of a run on one host; `ident` is unique for run and host, so that a repeated report is ignored."""

    ident: UUID
    cluster_id: int
    host_id: int
    host_name: str  # name of the host in the inventory of the run
    sql_port: int
    playbook: str  # without its suffix
    roles: Sequence[str]  # selected ones
    rc: int | None  # exit status of ansible-playbook if this were the only host; None = interrupted
    start_time: datetime
    finish_time: datetime
    events: Sequence[tuple[datetime, Mapping[str, Any]]]  # when, and what: an event in ansible-runner's shape
    executor: str  # the address that reports it


@dataclass(frozen=True, kw_only=True)
class _Play:
    """An external run with the workflow and the operation of its playbook."""

    run: ExternalRun
    workflow: Workflow
    operation: Operation

    @property
    def is_backward(self) -> bool:
        """Return whether it is a rollback."""
        return self.operation is Operation.ROLLBACK

    @property
    def is_complete(self) -> bool:
        """Return whether all roles of the workflow were selected."""
        return set(self.run.roles) == set(self.workflow.roles)

    @property
    def roles(self) -> list[str]:
        """The run's roles in the order of its playbook."""
        in_order = reversed(self.workflow.roles) if self.is_backward else self.workflow.roles
        return [role for role in in_order if role in self.run.roles]


@retry_contention
async def record(resources: Resources, run: ExternalRun, *, creator: User, trace_id: str) -> TaskWithSubtasks:
    """Insert the task instance that records `run`, or return it when `run` was reported before.

    Like one of ours, a takeover that has succeeded makes the OBProxy server managed, and a rollback removes it; but
    only when all roles were run.

    Raises UnknownCluster, UnknownHost, InvalidRequest (unknown roles), HostBusy, AlreadyManaged (in another OBProxy
    cluster) and RunAlreadyRecorded; then nothing is written.
    """
    async with resources.database.autocommit() as connection:  # before the checks: the inventory may have changed since
        if (task_id := await _find_recorded(connection, run)) is not None:
            return (await instances.by_ids(connection, [task_id]))[0]
    inventory = await resources.inventory.current()
    if run.cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=run.cluster_id)
    if run.host_id not in inventory.hosts:
        raise UnknownHost(host_id=run.host_id)
    cluster, host = inventory.clusters[run.cluster_id], inventory.hosts[run.host_id]
    mask = await inventory.mask(cluster, host)
    (host,) = await inventory.in_cluster(cluster, [host])
    play = _resolve(resources.workflows, run)
    async with resources.database.transaction() as connection:
        await execute(connection, "lock_external_run", ident=run.ident)
        task_id = await _find_recorded(connection, run)
        if task_id is None:
            server = await _lock_server(connection, play, cluster, host)
            remote_resources = replace(resources, executor=run.executor)
            task_id = await _insert_task(connection, remote_resources, play, cluster, host, server, creator, trace_id)
            await _replay_events(connection, resources.queue, play, task_id, mask)
        (recorded,) = await instances.by_ids(connection, [task_id])
        assert recorded[0].status is not TaskStatus.RUNNING, "the end of a run ends its task instance"
    return recorded


def _resolve(workflows: Workflows, run: ExternalRun) -> _Play:
    """Return the workflow and the operation of a run; raise InvalidRequest for an unknown playbook or role."""
    found = of_playbook(workflows, run.playbook)
    if found is None:
        raise InvalidRequest([_unknown("There is no playbook {name}.", "playbook", run.playbook)])
    workflow, operation = found
    unknown = [
        _unknown("There is no role {name}.", f"roles[{index}]", role)
        for index, role in enumerate(run.roles)
        if role not in workflow.roles
    ]
    if unknown:
        raise InvalidRequest(unknown)
    return _Play(run=run, workflow=workflow, operation=operation)


def _unknown(sentence: str, field: str, name: str) -> SubError:
    return SubError.saying(sentence, field=field, object="externalRunParam", rejected_value=name, name=name)


async def _find_recorded(connection: Connection, run: ExternalRun) -> int | None:
    """Return the id of the task instance that already records `run`; None when there is none."""
    for known in await fetch(connection, "task_of_run", ident=run.ident):
        if (known["type"], known["host_id"]) != (EXTERNAL, run.host_id):
            raise RunAlreadyRecorded(run=run.ident, task_id=known["id"], host_id=known["host_id"])
        return int(known["id"])
    return None


async def _lock_server(connection: Connection, play: _Play, cluster: Cluster, host: Host) -> ObproxyServer | None:
    """Return the locked OBProxy server of the run; None when there is none and the run cannot have created it."""
    run = play.run
    makes_managed = play.workflow.server_status is ServerStatus.TAKINGOVER and not play.is_backward
    if play.is_complete and makes_managed:
        await execute(
            connection,
            "upsert_servers",
            cluster_id=cluster.id,
            cluster_name=cluster.name,
            host_ids=[host.id],
            host_names=[host.name],
            ips=[host.address],
            sql_ports=[run.sql_port],
        )
    found = await fetch_as(
        connection, ObproxyServer, "lock_server_by_host_and_port", host_id=host.id, sql_port=run.sql_port
    )
    if not found:
        return None
    (server,) = found
    if server.operate_status == "OPERATING" and not play.is_complete:
        return None  # the end of some roles would count as the end of the whole workflow
    if server.status is ServerStatus.TAKINGOVER:
        return server
    if server.cluster_id != cluster.id:
        raise AlreadyManaged(host_id=host.id, sql_port=run.sql_port, server_id=server.id, cluster=server.cluster_name)
    return server


async def _insert_task(
    connection: Connection,
    resources: Resources,
    play: _Play,
    cluster: Cluster,
    host: Host,
    server: ObproxyServer | None,
    creator: User,
    trace_id: str,
) -> int:
    """Insert a task instance in its state before the run; return its id."""
    row = {"id": server.id, "parameter_version": server.parameter_version} if server else NO_SERVER
    run, workflow = play.run, play.workflow
    new = new_task(workflow, cluster, host, row)
    tasks = await insert_tasks(connection, resources, workflow, [new], creator, trace_id, request=None)
    task_id = tasks[host.id]
    await execute(
        connection, "mark_task_external", task_id=task_id, operation=play.operation, start_time=run.start_time
    )
    await execute(
        connection,
        "insert_external_run",
        ident=run.ident,
        task_id=task_id,
        executor=run.executor,
        start_time=run.start_time,
        finish_time=run.finish_time,
        rc=run.rc,
    )
    positions = _initial_positions(play)
    await execute(
        connection,
        "set_subtask_positions",
        task_id=task_id,
        roles=list(positions),
        statuses=[status for status, _ in positions.values()],
        operations=[operation for _, operation in positions.values()],
    )
    return task_id


def _initial_positions(play: _Play) -> dict[str, SubtaskState]:
    """Return the state of each subtask before the run; a takeover skips roles that were not selected."""
    run, roles = play.run, play.workflow.roles
    if not play.is_backward:
        return {
            role: (READY if role == roles[0] else PENDING, Operation.EXECUTE if role in run.roles else Operation.SKIP)
            for role in roles
        }
    first, *others = play.roles
    begun: dict[str, SubtaskState] = {role: (SUCCESSFUL, Operation.ROLLBACK) for role in others}
    left_out: dict[str, SubtaskState] = {role: (PENDING, Operation.EXECUTE) for role in roles if role not in run.roles}
    return {first: (READY, Operation.ROLLBACK), **begun, **left_out}


async def _replay_events(connection: Connection, queue: Queue, play: _Play, task_id: int, mask: Mask) -> None:
    """Apply the run's events to the task instance, from its state before the run to its end."""
    run = play.run
    locked = await lock_task(connection, queue, task_id, run.executor)
    assert locked is not None, "it was made in this transaction"
    locked.moment = run.start_time
    for subtask in locked.subtasks.values():
        if subtask.role not in run.roles:
            locked.append_log(subtask.id, NOT_SELECTED_MESSAGE)
    changes = _timed_changes(run, play.roles, mask)
    await locked.complete_skipped()
    for locked.moment, change in changes:
        await locked.apply_change(change)
        await locked.complete_skipped()
    if play.is_complete and _has_succeeded(changes):
        server_ids = [] if locked.task.obproxy_server_id is None else [locked.task.obproxy_server_id]
        await execute(connection, "mark_servers_operating", server_ids=server_ids, status=play.workflow.server_status)
    locked.moment = run.finish_time
    await locked.save()


def _timed_changes(run: ExternalRun, roles: Sequence[str], mask: Mask) -> TimedChanges:
    """Return the changes that the events make, and those that the end of the run makes."""
    progress = run_progress.begin(roles, run.host_name)
    timed: list[tuple[datetime, Change]] = []
    for moment, event in run.events:
        progress, changes = run_progress.advance(progress, redact(event, mask))
        within = min(max(moment, run.start_time), run.finish_time)
        timed += [(within, change) for change in changes]
    status = None if run.rc is None else "failed" if run.rc else "successful"
    end = run_progress.finish(progress, RunEnd(rc=run.rc, status=status))
    return [*timed, *((run.finish_time, change) for change in end)]


def _has_succeeded(changes: TimedChanges) -> bool:
    return all(change.verdict is Verdict.SUCCESSFUL for _, change in changes if isinstance(change, Ended))
