"""Inserts new task instances: the rows of a workflow on some hosts, once per idempotency key."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from psycopg.types.json import Jsonb

from service.access.errors import SignatureUsed
from service.access.users import User
from service.model.rollout import Rollout
from service.model.tasks import Held, Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.model.types import JSON
from service.model.workflow import Workflow
from service.store.database import Connection, execute, fetch
from service.tasks import instances
from service.tasks.errors import HostBusy, IdempotencyKeyReused
from service.tasks.instances import TaskWithSubtasks
from service.tasks.resources import Resources


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """One host of a new request."""

    host_id: int
    host_name: str
    server_id: int | None
    context: JSON


@dataclass(frozen=True, kw_only=True)
class NewRequest:
    """A new request: its OBProxy cluster and its policy; None = all hosts start at once."""

    cluster_id: int
    cluster_name: str
    rollout: Rollout | None = None


async def find_repeated(
    resources: Resources, creator: User, key: str | None, request: str
) -> list[TaskWithSubtasks] | None:
    """Return the task instances, as they were submitted, of an earlier `request` with this idempotency key.

    None = there was none within 24 hours. Raise IdempotencyKeyReused for a different request. It is called before the
    request is checked: hosts, OBProxy servers and the inventory may have changed since.
    """
    if key is None:
        return None
    async with resources.database.autocommit() as connection:
        return await _find_earlier(connection, resources, creator, key, request)


async def claim_key(
    connection: Connection, resources: Resources, creator: User, key: str | None, request: str, *, repeat_only: bool
) -> list[TaskWithSubtasks] | None:
    """Claim an idempotency key until the end of the transaction; `keep_key` notes its task instances.

    Return what `find_repeated` does when a concurrent request has claimed it, after waiting for that. Raise
    SignatureUsed with `repeat_only` when there was none.
    """
    fingerprint = resources.secrets.fingerprints(request)[0]
    values = {"creator": creator.name, "key": key, "fingerprint": fingerprint}
    if key is not None and not await fetch(connection, "claim_idempotency_key", **values):
        return await _find_earlier(connection, resources, creator, key, request)
    if repeat_only:
        raise SignatureUsed
    return None


async def keep_key(connection: Connection, creator: User, key: str | None, task_ids: Sequence[int]) -> None:
    """Note which task instances an idempotency key stands for."""
    if key is not None:
        values = {"creator": creator.name, "key": key, "task_ids": list(task_ids)}
        await execute(connection, "set_idempotency_key_tasks", **values)


async def _find_earlier(
    connection: Connection, resources: Resources, creator: User, key: str, request: str
) -> list[TaskWithSubtasks] | None:
    for known in await fetch(connection, "idempotency_key", creator=creator.name, key=key):
        if known["fingerprint"] not in resources.secrets.fingerprints(request):
            raise IdempotencyKeyReused(key=key)
        return [_as_submitted(*instance) for instance in await instances.by_ids(connection, known["task_ids"])]
    return None


def _as_submitted(task: TaskInstance, subtasks: Sequence[Subtask]) -> TaskWithSubtasks:
    """Return a task instance in its state right after its submission."""
    first = {False: SubtaskStatus.PENDING, True: SubtaskStatus.READY}
    operation = Operation.SKIP if task.skips_host else Operation.EXECUTE
    reset = [replace(s, status=first[not s.upstreams], operation=operation, run_time=1) for s in subtasks]
    return replace(task, status=TaskStatus.RUNNING, operation=Operation.EXECUTE), reset


async def insert_tasks(
    connection: Connection,
    resources: Resources,
    workflow: Workflow,
    new: Sequence[NewTask],
    creator: User,
    trace_id: str,
    *,
    request: NewRequest | None,
) -> dict[int, int]:
    """Insert task instances with their subtasks; return their ids by host id. Raise HostBusy.

    They belong to a new `request`; None = they record a run by hand.
    """
    request_id = None if request is None else await _insert_request(connection, workflow, creator, request)
    rows = await fetch(
        connection,
        "insert_tasks",
        workflow=workflow.name,
        name=workflow.task_name,
        prohibit_rollback=workflow.rollback is None,
        creator=creator.name,
        creator_id=creator.id,
        executor=resources.executor,
        trace_id=trace_id,
        host_ids=[task.host_id for task in new],
        host_names=[task.host_name for task in new],
        server_ids=[task.server_id for task in new],
        contexts=[Jsonb(task.context) for task in new],
        request_id=request_id,
        held_by=None if request is None or request.rollout is None else Held.ROLLOUT,
    )
    tasks = {row["host_id"]: row["id"] for row in rows}
    for host_id in (task.host_id for task in new):
        if host_id not in tasks:  # race: a concurrent request has inserted one
            busy = await fetch(connection, "running_tasks", host_ids=[host_id])
            raise HostBusy(host_id=host_id, task_id=busy[0]["id"] if busy else None)
    await execute(connection, "supersede_checks", task_ids=list(tasks.values()))
    older = await fetch(connection, "tasks_superseded_by", task_ids=list(tasks.values()))
    changed = [*tasks.values(), *(row["id"] for row in older)]
    await execute(connection, "notify_task_changes", task_ids=changed, changed=True)
    await _insert_subtasks(connection, workflow, list(tasks.values()))
    return tasks


async def _insert_request(connection: Connection, workflow: Workflow, creator: User, request: NewRequest) -> int:
    (row,) = await fetch(
        connection,
        "insert_request",
        workflow=workflow.name,
        cluster_id=request.cluster_id,
        cluster_name=request.cluster_name,
        creator=creator.name,
        creator_id=creator.id,
        rollout=None if request.rollout is None else Jsonb(asdict(request.rollout)),
    )
    request_id: int = row["id"]
    return request_id


def context(
    workflow: Workflow,
    *,
    host_id: int,
    variables: Mapping[str, object],
    cluster_id: int,
    cluster_name: str,
    server_id: int | None,
    parameter_version: int,
    more: Mapping[str, str],
) -> JSON:
    """Return the context of a task instance, with the keys of the sample (docs/reference/ocp-api.md 1.2).

    All values are strings. `variables` are those of the host as a member of the OBProxy cluster; `more` has further
    keys of `stringMap`.
    """
    return {
        "listMap": {
            "commands_to_check": variables.get("obproxy_commands_to_check", ["nc"]),
            "process_keywords": variables.get("obproxy_process_keywords", ["obproxy", "obproxyd.sh"]),
        },
        "stringMap": {
            "host_id": str(host_id),
            "obproxy_cluster_id": str(cluster_id),
            "obproxy_cluster_name": cluster_name,
            "obproxy_need_delete_cluster": "false",
            "obproxy_parameter_version": str(parameter_version),
            "obproxy_server_id": str(server_id or ""),
            "package_name": str(variables.get("obproxy_package_name", "obproxy")),
            "package_version": str(variables.get("obproxy_package_version", "")),
            "prohibit_rollback": str(workflow.prohibits_rollback).lower(),
            "service_name": cluster_name,
            **more,
        },
    }


async def _insert_subtasks(connection: Connection, workflow: Workflow, task_ids: Sequence[int]) -> None:
    """Insert the subtasks of new task instances, in DAG order; the first is READY."""
    columns = ("role", "series_id", "class_name", "name", "prohibit_rollback", "timeout")
    values = {f"{column}s": [getattr(subtask, column) for subtask in workflow.subtasks] for column in columns}
    await execute(connection, "insert_subtasks", task_ids=list(task_ids), **values)
    await execute(connection, "insert_subtask_dependencies", task_ids=list(task_ids))
