"""What can be asked for about OBProxy clusters, servers and hosts (docs/reference/ocp-api.md 1)."""

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.access.roles import READ_HOST, READ_OBPROXY, UPDATE_OBPROXY
from service.api import request_schemas
from service.api.request_schemas import (
    ClusterQuery,
    ExternalRunParam,
    HostQuery,
    ParameterInfoQuery,
    ReleaseParam,
    TakeOverParam,
)
from service.fleet import clusters, hosts, parameters, prometheus
from service.fleet import documents as fleet_documents
from service.http import envelope_schema, requests
from service.http.authentication import client
from service.http.envelope import contents, page_of, success, trace_id
from service.http.openapi import Operation
from service.model import errors as model_errors
from service.model.workflow import RELEASE
from service.observe import tracing
from service.tasks import documents as tasks_documents
from service.tasks import errors as tasks_errors
from service.tasks import external_runs, managed_servers, submit
from service.tasks.external_runs import ExternalRun
from service.tasks.managed_servers import ServersRequest
from service.tasks.submit import HostRequest


class Exporters(RootModel[list[prometheus.Target]]):
    """Scrape targets of all exporters."""


async def take_over(request: Request) -> Response:
    """POST /api/v2/obproxy/clusters/{id}/takeOver"""
    resources = requests.resources(request)
    settings = resources.settings
    cluster_id = requests.path_id(request, "id")
    wanted = await requests.body(
        request, TakeOverParam, limit=settings.body_limit, context=TakeOverParam.context(settings.hosts_limit)
    )
    proxies = [HostRequest(host_id=h.host_id, sql_port=h.sql_port, password=h.proxysys_passwd) for h in wanted.hosts]
    with tracing.span("submit", obproxy_cluster_id=cluster_id, hosts=len(proxies)):
        submitted = await submit.take_over(
            resources,
            cluster_id,
            proxies,
            creator=request.user,
            trace_id=trace_id(request),
            allow_restart=wanted.allow_restart,
            idempotency_key=requests.idempotency_key(request),
        )
    return success(request, contents(tasks_documents.task_instance(task, subtasks) for task, subtasks in submitted))


async def release(request: Request) -> Response:
    """POST /api/v2/obproxy/clusters/{id}/servers/release"""
    resources = requests.resources(request)
    settings = resources.settings
    cluster_id = requests.path_id(request, "id")
    wanted = await requests.body(
        request, ReleaseParam, limit=settings.body_limit, context=ReleaseParam.context(settings.hosts_limit)
    )
    with tracing.span("submit", obproxy_cluster_id=cluster_id, hosts=len(wanted.obproxy_server_ids)):
        submitted = await managed_servers.submit(
            resources,
            resources.workflows[RELEASE],
            ServersRequest(
                object_name=ReleaseParam.object_name,
                cluster_id=cluster_id,
                server_ids=wanted.obproxy_server_ids,
                skip_host_ids=wanted.skip_host_operation_server_ids,
            ),
            creator=request.user,
            trace_id=trace_id(request),
            idempotency_key=requests.idempotency_key(request),
        )
    return success(request, contents(tasks_documents.task_instance(task, subtasks) for task, subtasks in submitted))


async def record_external_run(request: Request) -> Response:
    """POST /api/v2/obproxy/externalRuns"""
    resources = requests.resources(request)
    told = await requests.body(request, ExternalRunParam, limit=resources.settings.body_limit, context={})
    run = ExternalRun(
        ident=told.uuid,
        cluster_id=told.cluster_id,
        host_id=told.host_id,
        host_name=told.host_name,
        sql_port=told.sql_port,
        playbook=told.playbook,
        roles=told.roles,
        rc=told.rc,
        start_time=told.start_time,
        finish_time=told.finish_time,
        events=[(event.created, event.as_ansible_runner()) for event in told.events],
        executor=client(request.scope),
    )
    task, subtasks = await external_runs.record(resources, run, creator=request.user, trace_id=trace_id(request))
    return success(request, tasks_documents.wrapped(task, subtasks))


async def list_clusters(request: Request) -> Response:
    """GET /api/v2/obproxy/clusters"""
    query = requests.query(request, ClusterQuery)
    found, total = await clusters.page(requests.resources(request), query.page, query.order)
    return success(request, page_of(map(fleet_documents.obproxy_cluster, found), query.page, total))


async def get_cluster(request: Request) -> Response:
    """GET /api/v2/obproxy/clusters/{id}"""
    found = await clusters.get(requests.resources(request), requests.path_id(request, "id"))
    return success(request, fleet_documents.obproxy_cluster(found))


async def list_cluster_parameters(request: Request) -> Response:
    """GET /api/v2/obproxy/clusters/{id}/parameters"""
    found = await parameters.of_cluster(requests.resources(request), requests.path_id(request, "id"))
    return success(request, contents(map(fleet_documents.cluster_parameter, found)))


async def list_parameter_infos(request: Request) -> Response:
    """GET /api/v2/obproxy/parameterInfo"""
    query = requests.query(request, ParameterInfoQuery)
    found = await parameters.infos(requests.resources(request), name=query.name, version=query.version)
    return success(request, contents(map(fleet_documents.parameter_info, found)))


async def list_hosts(request: Request) -> Response:
    """GET /api/v2/compute/hosts"""
    query = requests.query(request, HostQuery)
    found, total = await hosts.page(requests.resources(request), query.filter, query.page)
    return success(request, page_of(map(fleet_documents.host, found), query.page, total))


async def get_host(request: Request) -> Response:
    """GET /api/v2/compute/hosts/{hostId}"""
    found = await hosts.get(requests.resources(request), requests.path_id(request, "hostId"))
    return success(request, fleet_documents.host(found))


async def list_exporters(request: Request) -> Response:
    """GET /api/v2/obproxy/exporters: without an envelope, as Prometheus wants it."""
    return JSONResponse(await prometheus.targets(requests.resources(request).database))


OPERATIONS = (
    Operation(
        method="POST",
        path="/api/v2/obproxy/clusters/{id}/takeOver",
        endpoint=take_over,
        needs=UPDATE_OBPROXY,
        summary="Take running OBProxy processes over into an OBProxy cluster; one task instance a host",
        body=request_schemas.TakeOverParam,
        headers={"Idempotency-Key": "The same key and request within 24 hours: the same answer, nothing done again"},
        answer=envelope_schema.Success[envelope_schema.Contents[tasks_documents.TaskInstance]],
        errors=(
            model_errors.MalformedBody,
            model_errors.UnknownCluster,
            model_errors.UnknownHost,
            tasks_errors.HostBusy,
            tasks_errors.AlreadyManaged,
            tasks_errors.IdempotencyKeyReused,
            model_errors.BodyTooLarge,
            model_errors.UnsupportedMediaType,
            model_errors.InventoryUnreadable,
        ),
    ),
    Operation(
        method="POST",
        path="/api/v2/obproxy/clusters/{id}/servers/release",
        endpoint=release,
        needs=UPDATE_OBPROXY,
        summary="Give managed OBProxy servers back and forget them; the processes run on. One task instance a server",
        body=request_schemas.ReleaseParam,
        headers={"Idempotency-Key": "The same key and request within 24 hours: the same answer, nothing done again"},
        answer=envelope_schema.Success[envelope_schema.Contents[tasks_documents.TaskInstance]],
        errors=(
            model_errors.MalformedBody,
            model_errors.UnknownCluster,
            tasks_errors.HostBusy,
            tasks_errors.IdempotencyKeyReused,
            model_errors.BodyTooLarge,
            model_errors.UnsupportedMediaType,
            model_errors.InventoryUnreadable,
        ),
    ),
    Operation(
        method="POST",
        path="/api/v2/obproxy/externalRuns",
        endpoint=record_external_run,
        needs=UPDATE_OBPROXY,
        summary="Record a run on one host that was started by hand; the same uuid again is answered the same",
        body=request_schemas.ExternalRunParam,
        answer=envelope_schema.Success[tasks_documents.WrappedTaskInstance],
        errors=(
            model_errors.MalformedBody,
            model_errors.UnknownCluster,
            model_errors.UnknownHost,
            tasks_errors.HostBusy,
            tasks_errors.AlreadyManaged,
            tasks_errors.RunAlreadyRecorded,
            model_errors.BodyTooLarge,
            model_errors.UnsupportedMediaType,
            model_errors.InventoryUnreadable,
        ),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/clusters",
        endpoint=list_clusters,
        needs=READ_OBPROXY,
        summary="List OBProxy clusters with their servers",
        query=request_schemas.ClusterQuery,
        answer=envelope_schema.Success[envelope_schema.PageOf[fleet_documents.ObproxyCluster]],
        errors=(model_errors.InventoryUnreadable,),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/clusters/{id}",
        endpoint=get_cluster,
        needs=READ_OBPROXY,
        summary="One OBProxy cluster with its servers",
        answer=envelope_schema.Success[fleet_documents.ObproxyCluster],
        errors=(model_errors.UnknownCluster, model_errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/clusters/{id}/parameters",
        endpoint=list_cluster_parameters,
        needs=READ_OBPROXY,
        summary="The parameters of an OBProxy cluster's servers by name, each value with the servers that have it",
        answer=envelope_schema.Success[envelope_schema.Contents[fleet_documents.ClusterParameter]],
        errors=(model_errors.UnknownCluster, model_errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/parameterInfo",
        endpoint=list_parameter_infos,
        needs=READ_OBPROXY,
        summary="What each version of OBProxy that was looked at says about its parameters",
        query=request_schemas.ParameterInfoQuery,
        answer=envelope_schema.Success[envelope_schema.Contents[fleet_documents.ParameterInfo]],
    ),
    Operation(
        method="GET",
        path="/api/v2/compute/hosts",
        endpoint=list_hosts,
        needs=READ_HOST,
        summary="List the hosts of the inventory; those with an OBProxy server that was taken over have services",
        query=request_schemas.HostQuery,
        answer=envelope_schema.Success[envelope_schema.PageOf[fleet_documents.Host]],
        errors=(model_errors.InventoryUnreadable,),
    ),
    Operation(
        method="GET",
        path="/api/v2/compute/hosts/{hostId}",
        endpoint=get_host,
        needs=READ_HOST,
        summary="One host of the inventory",
        answer=envelope_schema.Success[fleet_documents.Host],
        errors=(model_errors.UnknownHost, model_errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/exporters",
        endpoint=list_exporters,
        needs=READ_OBPROXY,
        summary="Exporters of the OBProxy servers, for Prometheus' HTTP service discovery",
        answer=Exporters,
    ),
)
