"""Submits a workflow on managed OBProxy servers: validates all, then writes all in one transaction with the jobs."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from service.access.users import User
from service.inventory.reader import Inventory
from service.inventory.records import Host
from service.model.errors import InvalidRequest, SubError, UnknownCluster
from service.model.fleet import ObproxyServer, ServerStatus
from service.model.rollout import Rollout
from service.model.tasks import ALLOW_RESTART, RESTART_ID, SKIP_HOST
from service.model.types import JSON
from service.model.workflow import RESTART, Workflow
from service.store.database import Connection, execute, fetch, fetch_as
from service.store.database_errors import retry_contention
from service.tasks import instances, rollouts
from service.tasks.errors import HostBusy
from service.tasks.insertion import NewRequest, NewTask, claim_key, context, find_repeated, insert_tasks, keep_key
from service.tasks.instances import TaskWithSubtasks
from service.tasks.resources import Resources

UNKNOWN_SERVER = "OBProxy server {server_id} does not exist in OBProxy cluster {cluster_id}."
SAME_HOST = "OBProxy server {server_id} is on the same host as OBProxy server {first}; send one request for each."
NOT_MANAGED = "OBProxy server {server_id} is not managed: its takeover has not succeeded. Retry it or roll it back."
BEING_RELEASED = "OBProxy server {server_id} is being released. Retry its release, then take the OBProxy over again."
HOST_GONE = "Host {host_id} of OBProxy server {server_id} does not exist in the inventory."
RESTART_FORBIDDEN = (
    "The inventory forbids a restart on host {host} of OBProxy server {server_id}: obproxy_allow_restart is false. "
    "Set it to true or remove it."
)
NOT_NAMED = "OBProxy server {server_id} is not in obproxyServerIds."
SENTENCES = (UNKNOWN_SERVER, SAME_HOST, NOT_MANAGED, BEING_RELEASED, HOST_GONE, RESTART_FORBIDDEN, NOT_NAMED)
"""The errors of the ids in a request."""


@dataclass(frozen=True, kw_only=True)
class ServersRequest:
    """The OBProxy servers of a request.

    The hosts of `skip_host_ids` are gone: none of their subtasks runs, and they need not be in the inventory.
    """

    object_name: str  # in the response to an invalid request
    cluster_id: int
    server_ids: Sequence[int]
    ids_field: str = "obproxyServerIds"
    skip_host_ids: Sequence[int] = ()
    rollout: Rollout | None = None  # None = all hosts start at once
    permissions: Mapping[str, str] = field(default_factory=dict)  # further keys of the context


@retry_contention
async def submit(
    resources: Resources,
    workflow: Workflow,
    request: ServersRequest,
    *,
    creator: User,
    trace_id: str,
    idempotency_key: str | None = None,
    repeat_only: bool = False,
) -> list[TaskWithSubtasks]:
    """Start a workflow on managed OBProxy servers: one task instance per server, in the order of the request.

    Each server keeps its status until its run starts, so that health checks cover servers that wait, and a canceled
    request leaves them managed. `idempotency_key` and `repeat_only` are as in `submit.take_over`.

    Raise UnknownCluster, InvalidRequest, HostBusy or IdempotencyKeyReused; nothing is written then.
    """
    canonical = _canonical_request(workflow, request)
    repeated = await find_repeated(resources, creator, idempotency_key, canonical)
    if repeated is not None:
        return repeated
    inventory = await resources.inventory.current()
    hosts = await _hosts(resources, inventory, request)
    async with resources.database.transaction() as connection:
        repeated = await claim_key(connection, resources, creator, idempotency_key, canonical, repeat_only=repeat_only)
        if repeated is not None:
            return repeated
        servers = await _lock_servers(connection, inventory, workflow, request)
        await _reject_busy(connection, servers)
        new = [_new_task(inventory, workflow, request, server, hosts.get(server.host_id)) for server in servers]
        tasks = await insert_tasks(
            connection,
            resources,
            workflow,
            new,
            creator,
            trace_id,
            request=NewRequest(
                cluster_id=request.cluster_id, cluster_name=servers[0].cluster_name, rollout=request.rollout
            ),
        )
        skipped = [tasks[server.host_id] for server in servers if server.id in request.skip_host_ids]
        await execute(connection, "skip_subtasks_of_tasks", task_ids=skipped)
        await rollouts.defer(connection, resources.queue, {task: host for host, task in tasks.items()}, request.rollout)
        task_ids = [tasks[server.host_id] for server in servers]
        await keep_key(connection, creator, idempotency_key, task_ids)
        return await instances.by_ids(connection, task_ids)


def _canonical_request(workflow: Workflow, request: ServersRequest) -> str:
    """Return the request in one canonical form, for its fingerprint."""
    policy = [] if request.rollout is None else [asdict(request.rollout)]
    policy += [dict(request.permissions)] if request.permissions else []
    lists = (list(request.server_ids), list(request.skip_host_ids))
    return json.dumps([workflow.name, request.cluster_id, *lists, *policy])


async def _hosts(resources: Resources, inventory: Inventory, request: ServersRequest) -> Mapping[int, Host]:
    """Return the hosts of the servers by id, each with its variables as a member of the OBProxy cluster.

    Without a transaction: templates of the inventory may take long, and locked servers would stop the health checks.
    """
    async with resources.database.autocommit() as connection:
        rows = await fetch(connection, "hosts_of_servers", server_ids=list(request.server_ids))
    known = [inventory.hosts[row["host_id"]] for row in rows if row["host_id"] in inventory.hosts]
    cluster = inventory.clusters.get(request.cluster_id)
    return {host.id: host for host in (known if cluster is None else await inventory.in_cluster(cluster, known))}


async def _lock_servers(
    connection: Connection, inventory: Inventory, workflow: Workflow, request: ServersRequest
) -> list[ObproxyServer]:
    """Return the servers in the order of the request. Raise UnknownCluster or InvalidRequest."""
    rows = await fetch_as(connection, ObproxyServer, "lock_servers", server_ids=list(request.server_ids))
    known = {server.id: server for server in rows if server.cluster_id == request.cluster_id}
    if not known and request.cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=request.cluster_id)
    errors = [*_server_errors(inventory, workflow, request, known), *_skip_errors(request)]
    if errors:
        raise InvalidRequest(errors)
    return [known[server_id] for server_id in request.server_ids]


def _server_errors(
    inventory: Inventory, workflow: Workflow, request: ServersRequest, known: Mapping[int, ObproxyServer]
) -> list[SubError]:
    """Return the error of each invalid server."""
    errors: list[SubError] = []
    first_of_host: dict[int, int] = {}
    for index, server_id in enumerate(request.server_ids):
        server = known.get(server_id)
        values: JSON = {"server_id": server_id, "cluster_id": request.cluster_id}
        if server is None:
            sentence = UNKNOWN_SERVER
        else:
            first = first_of_host.setdefault(server.host_id, server_id)
            values |= {"host_id": server.host_id, "first": first}
            if host := inventory.hosts.get(server.host_id):
                values["host"] = host.name
            sentence = SAME_HOST
            if first == server_id:
                sentence = "" if server_id in request.skip_host_ids else _obstacle(inventory, workflow, server)
        if sentence:
            errors.append(_error(request, f"{request.ids_field}[{index}]", server_id, sentence, **values))
    return errors


def _obstacle(inventory: Inventory, workflow: Workflow, server: ObproxyServer) -> str:
    """Return why the workflow cannot run on the host of a server; empty = it can."""
    if server.status is ServerStatus.TAKINGOVER:
        return NOT_MANAGED
    if server.status is ServerStatus.DELETING and workflow.server_status is not ServerStatus.DELETING:
        return BEING_RELEASED
    if server.host_id not in inventory.hosts:
        return HOST_GONE
    if server.cluster_id not in inventory.clusters:
        return UnknownCluster.__doc__ or ""
    if workflow.name == RESTART and inventory.hosts[server.host_id].forbids_restart:
        return RESTART_FORBIDDEN
    return ""


def _skip_errors(request: ServersRequest) -> list[SubError]:
    return [
        _error(request, f"skipHostOperationServerIds[{index}]", server_id, NOT_NAMED, server_id=server_id)
        for index, server_id in enumerate(request.skip_host_ids)
        if server_id not in request.server_ids
    ]


def _error(request: ServersRequest, field: str, rejected: int, sentence: str, /, **values: object) -> SubError:
    return SubError.saying(sentence, field=field, object=request.object_name, rejected_value=rejected, **values)


async def _reject_busy(connection: Connection, servers: Sequence[ObproxyServer]) -> None:
    for busy in await fetch(connection, "running_tasks", host_ids=[server.host_id for server in servers]):
        raise HostBusy(host_id=busy["host_id"], task_id=busy["id"])


def _new_task(
    inventory: Inventory, workflow: Workflow, request: ServersRequest, server: ObproxyServer, host: Host | None
) -> NewTask:
    cluster = inventory.clusters.get(server.cluster_id)
    return NewTask(
        host_id=server.host_id,
        host_name=server.host_name if host is None else host.name,
        server_id=server.id,
        context=context(
            workflow,
            host_id=server.host_id,
            variables={} if host is None else host.variables,
            cluster_id=server.cluster_id,
            cluster_name=server.cluster_name if cluster is None else cluster.name,
            server_id=server.id,
            parameter_version=server.parameter_version,
            more={
                **(_new_restart() if workflow.name == RESTART else {}),
                **request.permissions,
                **({SKIP_HOST: "true"} if server.id in request.skip_host_ids else {}),
            },
        ),
    )


def _new_restart() -> dict[str, str]:
    """Return the keys of a context that only a restart has: its request is the permission."""
    return {ALLOW_RESTART: "true", RESTART_ID: str(uuid.uuid4())}
