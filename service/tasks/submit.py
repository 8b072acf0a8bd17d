"""Submits a takeover: checks the request, then inserts task instances and their jobs in one transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg.types.json import Jsonb
from pydantic import SecretStr

from service.access.users import User
from service.inventory.reader import Inventory
from service.inventory.records import Cluster, Host
from service.model.errors import InvalidRequest, SubError, UnknownCluster, UnknownHost
from service.model.tasks import ALLOW_RESTART, Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.model.types import JSON
from service.model.workflow import TAKEOVER, Workflow
from service.store.database import Connection, execute, fetch
from service.store.database_errors import retry_contention
from service.tasks import instances
from service.tasks.errors import AlreadyManaged, HostBusy, IdempotencyKeyReused
from service.tasks.instances import TaskWithSubtasks
from service.tasks.resources import Resources

PASSWORD_VARIABLE = "obproxy_current_sys_password"  # noqa: S105 - the variable's name, not a password


@dataclass(frozen=True, kw_only=True)
class HostRequest:
    """One element of `hosts` in a takeOver request; `password` is the current one of root@proxysys, or None."""

    host_id: int
    sql_port: int
    password: SecretStr | None = field(default=None, repr=False)


@retry_contention
async def take_over(
    resources: Resources,
    cluster_id: int,
    hosts: Sequence[HostRequest],
    *,
    creator: User,
    trace_id: str,
    allow_restart: bool | None = None,
    idempotency_key: str | None = None,
) -> list[TaskWithSubtasks]:
    """Submit a takeover of `hosts` into a cluster: one task instance per host, in the order of the request.

    `allow_restart` permits or forbids a restart in these takeovers; None = the setting of the cluster applies.

    A repeated request with the same `idempotency_key` and creator within 24 hours returns the same task instances, as
    they were submitted. Another request with that key raises IdempotencyKeyReused.

    Raises UnknownCluster, UnknownHost, InvalidRequest (several unknown hosts), HostBusy, AlreadyManaged; then
    nothing is written.
    """
    workflow = resources.workflows[TAKEOVER]
    inventory = await resources.inventory.current()
    cluster = inventory.clusters.get(cluster_id)
    if cluster is None:
        raise UnknownCluster(cluster_id=cluster_id)
    known = await inventory.in_cluster(cluster, _find_hosts(inventory, hosts))
    async with resources.database.transaction() as connection:
        if idempotency_key is not None:
            fingerprints = resources.secrets.fingerprints(_canonical_request(cluster_id, hosts, allow_restart))
            done = await _claim_idempotency_key(connection, creator.name, idempotency_key, fingerprints)
            if done is not None:
                return [_as_submitted(*instance) for instance in await instances.by_ids(connection, done)]
        await _reject_busy_or_managed(connection, hosts)
        servers = await _insert_servers(connection, cluster, known, hosts)
        tasks = await insert_tasks(
            connection, resources, workflow, cluster, known, servers, creator, trace_id, allow_restart
        )
        await insert_subtasks(connection, workflow, list(tasks.values()))
        await _insert_secrets(connection, resources, tasks, hosts)
        await resources.queue.defer(connection, {task: host for host, task in tasks.items()})
        task_ids = [tasks[host.host_id] for host in hosts]
        if idempotency_key is not None:
            await execute(
                connection, "set_idempotency_key_tasks", creator=creator.name, key=idempotency_key, task_ids=task_ids
            )
        return await instances.by_ids(connection, task_ids)


def _canonical_request(cluster_id: int, hosts: Sequence[HostRequest], allow_restart: bool | None) -> str:
    """Return the request in one canonical form, for its fingerprint."""
    asked = [[h.host_id, h.sql_port, h.password.get_secret_value() if h.password else None] for h in hosts]
    return json.dumps([cluster_id, asked, *([] if allow_restart is None else [allow_restart])])


async def _claim_idempotency_key(
    connection: Connection, creator: str, key: str, fingerprints: Sequence[bytes]
) -> list[int] | None:
    """Claim an idempotency key: return None, or the task ids of the request that has it. Wait for a concurrent one."""
    if await fetch(connection, "claim_idempotency_key", creator=creator, key=key, fingerprint=fingerprints[0]):
        return None
    (known,) = await fetch(connection, "idempotency_key", creator=creator, key=key)
    if known["fingerprint"] not in fingerprints:
        raise IdempotencyKeyReused(key=key)
    task_ids: list[int] = known["task_ids"]
    return task_ids


def _as_submitted(task: TaskInstance, subtasks: Sequence[Subtask]) -> TaskWithSubtasks:
    """Return a task instance in its state right after its submission."""
    first = {False: SubtaskStatus.PENDING, True: SubtaskStatus.READY}
    reset = [replace(s, status=first[not s.upstreams], operation=Operation.EXECUTE, run_time=1) for s in subtasks]
    return replace(task, status=TaskStatus.RUNNING, operation=Operation.EXECUTE), reset


def _find_hosts(inventory: Inventory, hosts: Sequence[HostRequest]) -> list[Host]:
    unknown = [(index, host.host_id) for index, host in enumerate(hosts) if host.host_id not in inventory.hosts]
    if len(unknown) == 1:
        raise UnknownHost(host_id=unknown[0][1])
    if unknown:
        raise InvalidRequest(
            [
                SubError(
                    field=f"hosts[{index}].hostId",
                    message=f"Host {host_id} does not exist in the inventory.",
                    object="obproxyTakeOverParam",
                    rejected_value=host_id,
                )
                for index, host_id in unknown
            ]
        )
    return [inventory.hosts[host.host_id] for host in hosts]


async def _reject_busy_or_managed(connection: Connection, hosts: Sequence[HostRequest]) -> None:
    host_ids = [host.host_id for host in hosts]
    for busy in await fetch(connection, "running_tasks", host_ids=host_ids):
        raise HostBusy(host_id=busy["host_id"], task_id=busy["id"])
    ports = [host.sql_port for host in hosts]
    for server in await fetch(connection, "managed_servers_by_host_and_port", host_ids=host_ids, sql_ports=ports):
        raise AlreadyManaged(
            host_id=server["host_id"],
            sql_port=server["sql_port"],
            server_id=server["id"],
            cluster=server["cluster_name"],
        )


async def _insert_servers(
    connection: Connection, cluster: Cluster, known: Sequence[Host], hosts: Sequence[HostRequest]
) -> dict[int, JSON]:
    """Insert the OBProxy servers; return their rows by host id."""
    rows = await fetch(
        connection,
        "upsert_servers",
        cluster_id=cluster.id,
        cluster_name=cluster.name,
        host_ids=[host.id for host in known],
        host_names=[host.name for host in known],
        ips=[host.address for host in known],
        sql_ports=[host.sql_port for host in hosts],
    )
    servers = {row["host_id"]: row for row in rows}
    if len(servers) < len(known):  # race: one was taken over since the check
        await _reject_busy_or_managed(connection, hosts)
    return servers


async def insert_tasks(
    connection: Connection,
    resources: Resources,
    workflow: Workflow,
    cluster: Cluster,
    known: Sequence[Host],
    servers: Mapping[int, JSON],
    creator: User,
    trace_id: str,
    allow_restart: bool | None = None,
) -> dict[int, int]:
    """Insert task instances; return their ids by host id. Raise HostBusy."""
    contexts = [context(workflow, cluster, host, servers[host.id], allow_restart) for host in known]
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
        host_ids=[host.id for host in known],
        host_names=[host.name for host in known],
        server_ids=[servers[host.id]["id"] for host in known],
        contexts=list(map(Jsonb, contexts)),
    )
    tasks = {row["host_id"]: row["id"] for row in rows}
    for host in known:
        if host.id not in tasks:  # race: a concurrent request has inserted one
            busy = await fetch(connection, "running_tasks", host_ids=[host.id])
            raise HostBusy(host_id=host.id, task_id=busy[0]["id"] if busy else None)
    older = await fetch(connection, "tasks_superseded_by", task_ids=list(tasks.values()))
    changed = [*tasks.values(), *(row["id"] for row in older)]
    await execute(connection, "notify_task_changes", task_ids=changed, changed=True)
    return tasks


def context(workflow: Workflow, cluster: Cluster, host: Host, server: JSON, allow_restart: bool | None) -> JSON:
    """Return the context of a task instance, with the keys of the sample (docs/reference/ocp-api.md 1.2).

    All values are strings. `host` has its variables as a member of the OBProxy cluster. The context has the request's
    permission to restart, if there is one.
    """
    variables = host.variables
    return {
        "listMap": {
            "commands_to_check": variables.get("obproxy_commands_to_check", ["nc"]),
            "process_keywords": variables.get("obproxy_process_keywords", ["obproxy", "obproxyd.sh"]),
        },
        "stringMap": {
            "host_id": str(host.id),
            "obproxy_cluster_id": str(cluster.id),
            "obproxy_cluster_name": cluster.name,
            "obproxy_need_delete_cluster": "false",
            "obproxy_parameter_version": str(server["parameter_version"]),
            "obproxy_server_id": str(server["id"] or ""),
            "package_name": str(variables.get("obproxy_package_name", "obproxy")),
            "package_version": str(variables.get("obproxy_package_version", "")),
            "prohibit_rollback": str(workflow.prohibits_rollback).lower(),
            "service_name": cluster.name,
            **({} if allow_restart is None else {ALLOW_RESTART: str(allow_restart).lower()}),
        },
    }


async def insert_subtasks(connection: Connection, workflow: Workflow, task_ids: Sequence[int]) -> None:
    """Insert the subtasks of new task instances, in DAG order; the first is READY."""
    columns = ("role", "series_id", "class_name", "name", "prohibit_rollback", "timeout")
    values = {f"{column}s": [getattr(subtask, column) for subtask in workflow.subtasks] for column in columns}
    await execute(connection, "insert_subtasks", task_ids=list(task_ids), **values)
    await execute(connection, "insert_subtask_dependencies", task_ids=list(task_ids))


async def _insert_secrets(
    connection: Connection, resources: Resources, tasks: Mapping[int, int], hosts: Sequence[HostRequest]
) -> None:
    given = [(tasks[host.host_id], host.password) for host in hosts if host.password is not None]
    if given:
        await execute(
            connection,
            "insert_task_secrets",
            task_ids=[task for task, _ in given],
            names=[PASSWORD_VARIABLE] * len(given),
            ciphertexts=[resources.secrets.encrypt(password) for _, password in given],
        )
