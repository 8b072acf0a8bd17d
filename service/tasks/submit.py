"""Submits a takeover: checks the request, then inserts task instances and their jobs in one transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from service.access.users import User
from service.inventory.reader import Inventory
from service.inventory.records import Cluster, Host
from service.model.errors import UnknownCluster, reject_unknown_hosts
from service.model.rollout import Rollout
from service.model.tasks import ALLOW_RESTART, CHECK_MODE, SQL_PORT
from service.model.types import JSON
from service.model.workflow import PRECHECK, TAKEOVER, Workflow
from service.store.database import Connection, execute, fetch
from service.store.database_errors import retry_contention
from service.tasks import instances, rollouts
from service.tasks.errors import AlreadyManaged, HostBusy
from service.tasks.insertion import NewRequest, NewTask, claim_key, context, find_repeated, insert_tasks, keep_key
from service.tasks.instances import TaskWithSubtasks
from service.tasks.resources import Resources

NO_SERVER: Mapping[str, Any] = MappingProxyType({"id": None, "parameter_version": 1})
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
    rollout: Rollout | None = None,
    check: bool = False,
    checked: Mapping[int, int] = MappingProxyType({}),
    idempotency_key: str | None = None,
    repeat_only: bool = False,
) -> list[TaskWithSubtasks]:
    """Submit a takeover of `hosts` into a cluster: one task instance per host, in the order of the request.

    With `check`, they only check the takeover: they change nothing, and no OBProxy server is created. `checked` has the
    ids of former checks by host, whose passwords are used again.

    `allow_restart` permits or forbids a restart in these takeovers; None = the setting of the cluster applies. With a
    `rollout`, hosts start in batches; None = all hosts start at once.

    A repeated request with the same `idempotency_key` and creator within 24 hours returns the same task instances, as
    they were submitted. Another request with that key raises IdempotencyKeyReused. With `repeat_only`, a request that
    is not a repeated one raises SignatureUsed.

    Raises UnknownCluster, UnknownHost, InvalidRequest (several unknown hosts), HostBusy, AlreadyManaged; then
    nothing is written.
    """
    canonical = _canonical_request(cluster_id, hosts, allow_restart, rollout, check=check)
    repeated = await find_repeated(resources, creator, idempotency_key, canonical)
    if repeated is not None:
        return repeated
    workflow = resources.workflows[PRECHECK if check else TAKEOVER]
    inventory = await resources.inventory.current()
    cluster = inventory.clusters.get(cluster_id)
    if cluster is None:
        raise UnknownCluster(cluster_id=cluster_id)
    known = await inventory.in_cluster(cluster, _find_hosts(inventory, hosts))
    async with resources.database.transaction() as connection:
        repeated = await claim_key(connection, resources, creator, idempotency_key, canonical, repeat_only=repeat_only)
        if repeated is not None:
            return repeated
        await _reject_busy_or_managed(connection, hosts)
        servers = {} if check else await _insert_servers(connection, cluster, known, hosts)
        new = [
            new_task(
                workflow, cluster, host, servers.get(host.id, NO_SERVER), allow_restart, _check_context(asked, check)
            )
            for host, asked in zip(known, hosts, strict=True)
        ]
        request = NewRequest(cluster_id=cluster.id, cluster_name=cluster.name, rollout=rollout)
        tasks = await insert_tasks(connection, resources, workflow, new, creator, trace_id, request=request)
        await _insert_secrets(connection, resources, tasks, hosts)
        if checked:
            copied = {check_id: tasks[host_id] for host_id, check_id in checked.items()}
            await execute(connection, "copy_task_secrets", old=list(copied), new=list(copied.values()))
        await rollouts.defer(connection, resources.queue, {task: host for host, task in tasks.items()}, rollout)
        task_ids = [tasks[host.host_id] for host in hosts]
        await keep_key(connection, creator, idempotency_key, task_ids)
        return await instances.by_ids(connection, task_ids)


def _canonical_request(
    cluster_id: int, hosts: Sequence[HostRequest], allow_restart: bool | None, rollout: Rollout | None, *, check: bool
) -> str:
    """Return the request in one canonical form, for its fingerprint."""
    requested = [[h.host_id, h.sql_port, h.password.get_secret_value() if h.password else None] for h in hosts]
    policy = [*([] if rollout is None else [asdict(rollout)]), *(["check"] if check else [])]
    return json.dumps([cluster_id, requested, *([] if allow_restart is None else [allow_restart]), *policy])


def _find_hosts(inventory: Inventory, hosts: Sequence[HostRequest]) -> list[Host]:
    ids = [host.host_id for host in hosts]
    reject_unknown_hosts(ids, inventory.hosts, field="hosts[{index}].hostId", object="obproxyTakeOverParam")
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


def _check_context(host: HostRequest, check: bool) -> Mapping[str, str]:
    """Return what the context of a check has in addition: its SQL port, since it has no OBProxy server."""
    return {CHECK_MODE: "true", SQL_PORT: str(host.sql_port)} if check else {}


def new_task(
    workflow: Workflow,
    cluster: Cluster,
    host: Host,
    server: Mapping[str, Any],
    allow_restart: bool | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> NewTask:
    """Return the new task of a host, which has its variables as a member of the OBProxy cluster.

    The context has the request's permission to restart, if there is one, and what `more` has.
    """
    allowed = {} if allow_restart is None else {ALLOW_RESTART: str(allow_restart).lower()}
    return NewTask(
        host_id=host.id,
        host_name=host.name,
        server_id=server["id"],
        context=context(
            workflow,
            host_id=host.id,
            variables=host.variables,
            cluster_id=cluster.id,
            cluster_name=cluster.name,
            server_id=server["id"],
            parameter_version=server["parameter_version"],
            more={**allowed, **more},
        ),
    )


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
