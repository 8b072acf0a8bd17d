"""Endpoints that submit a workflow on OBProxy servers, or record an external run (docs/reference/ocp-api.md 1)."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import UPDATE_OBPROXY
from service.api.bodies import ExternalRunParam, ObproxiesPath, RefreshParam, ReleaseParam, RestartParam, TakeOverParam
from service.api.fleet import CLUSTER
from service.api.requests import REQUESTS
from service.http import envelope_schema, requests
from service.http.authentication import client_address, is_repeated
from service.http.envelope import list_data, success_response, trace_id
from service.http.openapi import Endpoint, Operation
from service.http.request_types import RequestModel
from service.model import errors as model_errors
from service.model.errors import TakeoverError
from service.model.rollout import Rollout
from service.model.states import state_of
from service.model.tasks import ALLOW_COLD_RESTART
from service.model.workflow import REFRESH, RELEASE, RESTART
from service.observe import tracing
from service.tasks import documents as tasks_documents
from service.tasks import errors as tasks_errors
from service.tasks import external_runs, managed_servers, submit
from service.tasks.external_runs import ExternalRun
from service.tasks.instances import TaskWithSubtasks
from service.tasks.managed_servers import ServersRequest
from service.tasks.submit import HostRequest
from service.tasks.waiting import Progress


async def take_over(request: Request) -> Response:
    """Submit a takeover: POST /api/v2/obproxy/clusters/{id}/takeOver."""
    return await _take_over(request, check=False)


async def precheck(request: Request) -> Response:
    """Check a takeover, and change nothing: POST /api/v2/obproxy/clusters/{id}/takeOver/precheck."""
    return await _take_over(request, check=True)


async def _take_over(request: Request, *, check: bool) -> Response:
    resources = requests.resources(request)
    settings = resources.settings
    cluster_id = requests.path_id(request, "id")
    body = await requests.parse_body(
        request, TakeOverParam, limit=settings.body_limit, context=TakeOverParam.context(settings.hosts_limit)
    )
    proxies = [HostRequest(host_id=h.host_id, sql_port=h.sql_port, password=h.proxysys_passwd) for h in body.hosts]
    with tracing.span("submit", obproxy_cluster_id=cluster_id, hosts=len(proxies)):
        submitted = await submit.take_over(
            resources,
            cluster_id,
            proxies,
            creator=request.user,
            trace_id=trace_id(request),
            allow_restart=body.allow_restart,
            rollout=body.policy,
            check=check,
            idempotency_key=requests.idempotency_key(request),
            repeat_only=is_repeated(request),
        )
    return _submitted_response(request, submitted)


async def refresh(request: Request) -> Response:
    """Set servers to their cluster's values again: POST …/clusters/{id}/obproxies/{obproxyIds}/refresh."""
    resources = requests.resources(request)
    settings = resources.settings
    path = requests.parse_path(request, ObproxiesPath, context={"hosts_limit": settings.hosts_limit})
    body = await requests.parse_optional_body(request, RefreshParam, limit=settings.body_limit, context={})
    return await _submit(request, REFRESH, _servers_of_path(path, body.policy))


async def restart(request: Request) -> Response:
    """Restart servers, one at a time: POST …/clusters/{id}/obproxies/{obproxyIds}/restart."""
    resources = requests.resources(request)
    settings = resources.settings
    path = requests.parse_path(request, ObproxiesPath, context={"hosts_limit": settings.hosts_limit})
    body = await requests.parse_optional_body(request, RestartParam, limit=settings.body_limit, context={})
    permissions = {ALLOW_COLD_RESTART: "true"} if body.allow_cold_restart else {}
    return await _submit(request, RESTART, _servers_of_path(path, body.policy, permissions))


def _servers_of_path(
    path: ObproxiesPath, rollout: Rollout | None, permissions: Mapping[str, str] | None = None
) -> ServersRequest:
    return ServersRequest(
        object_name=ObproxiesPath.object_name,
        cluster_id=path.id,
        server_ids=path.obproxy_ids,
        ids_field="obproxyIds",
        rollout=rollout,
        permissions=permissions or {},
    )


async def release(request: Request) -> Response:
    """Give managed OBProxy servers back: POST /api/v2/obproxy/clusters/{id}/servers/release."""
    resources = requests.resources(request)
    settings = resources.settings
    cluster_id = requests.path_id(request, "id")
    body = await requests.parse_body(
        request, ReleaseParam, limit=settings.body_limit, context=ReleaseParam.context(settings.hosts_limit)
    )
    servers = ServersRequest(
        object_name=ReleaseParam.object_name,
        cluster_id=cluster_id,
        server_ids=body.obproxy_server_ids,
        skip_host_ids=body.skip_host_operation_server_ids,
        rollout=body.policy,
    )
    return await _submit(request, RELEASE, servers)


async def _submit(request: Request, workflow: str, servers: ServersRequest) -> Response:
    """Submit a workflow on managed OBProxy servers."""
    resources = requests.resources(request)
    with tracing.span("submit", obproxy_cluster_id=servers.cluster_id, hosts=len(servers.server_ids)):
        submitted = await managed_servers.submit(
            resources,
            resources.workflows[workflow],
            servers,
            creator=request.user,
            trace_id=trace_id(request),
            idempotency_key=requests.idempotency_key(request),
            repeat_only=is_repeated(request),
        )
    return _submitted_response(request, submitted)


def _submitted_response(request: Request, submitted: Sequence[TaskWithSubtasks]) -> Response:
    """Return the task instances as OCP does. The header Location has the path of their request."""
    contents = list_data(tasks_documents.task_instance(task, subtasks) for task, subtasks in submitted)
    request_ids = [task.request_id for task, _ in submitted if task.request_id is not None]
    return success_response(request, contents, {"Location": f"{REQUESTS}/{request_ids[0]}"} if request_ids else None)


async def record_external_run(request: Request) -> Response:
    """Record an external run: POST /api/v2/obproxy/externalRuns."""
    resources = requests.resources(request)
    body = await requests.parse_body(request, ExternalRunParam, limit=resources.settings.body_limit, context={})
    run = ExternalRun(
        ident=body.uuid,
        cluster_id=body.cluster_id,
        host_id=body.host_id,
        host_name=body.host_name,
        sql_port=body.sql_port,
        playbook=body.playbook,
        roles=body.roles,
        rc=body.rc,
        start_time=body.start_time,
        finish_time=body.finish_time,
        events=[(event.created, event.as_ansible_runner()) for event in body.events],
        executor=client_address(request.scope),
    )
    task, subtasks = await external_runs.record(resources, run, creator=request.user, trace_id=trace_id(request))
    return success_response(request, tasks_documents.wrapped(task, subtasks, Progress(state=state_of(task))))


_SUBMIT_ERRORS = (
    model_errors.MalformedBody,
    model_errors.UnknownCluster,
    tasks_errors.HostBusy,
    model_errors.BodyTooLarge,
    model_errors.UnsupportedMediaType,
    model_errors.UnsupportedContentEncoding,
    model_errors.InventoryUnreadable,
)
_TAKEOVER_ERRORS = (model_errors.UnknownHost, tasks_errors.AlreadyManaged)

OBPROXIES = CLUSTER + "/obproxies/{obproxyIds}"


def _submission(
    path: str,
    endpoint: Endpoint,
    summary: str,
    body: type[RequestModel],
    *,
    errors: Sequence[type[TakeoverError]] = (),
    body_required: bool = True,
) -> Operation:
    """Return an operation that submits a workflow and responds with its task instances."""
    ids = {"obproxyIds": "Ids of OBProxy servers of the cluster, separated by commas"}
    return Operation(
        method="POST",
        path=path,
        endpoint=endpoint,
        permission=UPDATE_OBPROXY,
        summary=summary,
        path_lists=ids if path.startswith(OBPROXIES) else {},
        body=body,
        body_required=body_required,
        headers=[requests.IDEMPOTENCY_KEY],
        response=envelope_schema.Success[envelope_schema.Contents[tasks_documents.TaskInstance]],
        errors=(*_SUBMIT_ERRORS, tasks_errors.IdempotencyKeyReused, *errors),
    )


OPERATIONS = (
    _submission(
        OBPROXIES + "/refresh",
        refresh,
        "Set managed OBProxy servers to their cluster's values again; one task instance per server",
        RefreshParam,
        body_required=False,
    ),
    _submission(
        OBPROXIES + "/restart",
        restart,
        "Restart managed OBProxy servers, one at a time; one task instance per server",
        RestartParam,
        body_required=False,
    ),
    _submission(
        CLUSTER + "/takeOver",
        take_over,
        "Take running OBProxy processes over into an OBProxy cluster; one task instance per host",
        TakeOverParam,
        errors=_TAKEOVER_ERRORS,
    ),
    _submission(
        CLUSTER + "/takeOver/precheck",
        precheck,
        "Check a takeover without changing anything: report all failed rules and the changes it would make",
        TakeOverParam,
        errors=_TAKEOVER_ERRORS,
    ),
    _submission(
        CLUSTER + "/servers/release",
        release,
        "Release managed OBProxy servers, whose processes keep running; one task instance per server",
        ReleaseParam,
    ),
    Operation(
        method="POST",
        path="/api/v2/obproxy/externalRuns",
        endpoint=record_external_run,
        permission=UPDATE_OBPROXY,
        summary="Record an external run on one host; a repeated uuid gets the same response",
        body=ExternalRunParam,
        response=envelope_schema.Success[tasks_documents.WrappedTaskInstance],
        errors=(
            *_SUBMIT_ERRORS,
            model_errors.UnknownHost,
            tasks_errors.AlreadyManaged,
            tasks_errors.RunAlreadyRecorded,
        ),
    ),
)
