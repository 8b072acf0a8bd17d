"""OBProxy clusters, servers and hosts: parse, do it, answer. Nothing is decided here."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service import (
    clusters,
    document,
    document_clusters,
    exporters,
    external,
    hosts,
    parameters,
    requests,
    submit,
    tracing,
)
from service.auth import client
from service.external import ExternalRun, Playbook
from service.responses import contents, page_of, success, trace_id
from service.schemas import ExternalRunParam, HostQuery, PageQuery, ParameterInfoQuery, TakeOverParam
from service.submit import HostRequest


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
    return success(request, contents(document.task_instance(task, subtasks) for task, subtasks in submitted))


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
        playbook=Playbook(told.playbook),
        roles=told.roles,
        rc=told.rc,
        start_time=told.start_time,
        finish_time=told.finish_time,
        events=[(event.created, event.as_ansible_runner()) for event in told.events],
        executor=client(request.scope),
    )
    task, subtasks = await external.record(resources, run, creator=request.user, trace_id=trace_id(request))
    return success(request, document.wrapped(task, subtasks))


async def list_clusters(request: Request) -> Response:
    """GET /api/v2/obproxy/clusters"""
    query = requests.query(request, PageQuery)
    found, total = await clusters.page(requests.resources(request), query.page)
    return success(request, page_of(map(document_clusters.obproxy_cluster, found), query.page, total))


async def get_cluster(request: Request) -> Response:
    """GET /api/v2/obproxy/clusters/{id}"""
    found = await clusters.get(requests.resources(request), requests.path_id(request, "id"))
    return success(request, document_clusters.obproxy_cluster(found))


async def list_cluster_parameters(request: Request) -> Response:
    """GET /api/v2/obproxy/clusters/{id}/parameters"""
    found = await parameters.of_cluster(requests.resources(request), requests.path_id(request, "id"))
    return success(request, contents(map(document_clusters.cluster_parameter, found)))


async def list_parameter_infos(request: Request) -> Response:
    """GET /api/v2/obproxy/parameterInfo"""
    query = requests.query(request, ParameterInfoQuery)
    found = await parameters.infos(requests.resources(request), name=query.name, version=query.version)
    return success(request, contents(map(document_clusters.parameter_info, found)))


async def list_hosts(request: Request) -> Response:
    """GET /api/v2/compute/hosts"""
    query = requests.query(request, HostQuery)
    found, total = await hosts.page(requests.resources(request), query.filter, query.page)
    return success(request, page_of(map(document_clusters.host, found), query.page, total))


async def get_host(request: Request) -> Response:
    """GET /api/v2/compute/hosts/{hostId}"""
    found = await hosts.get(requests.resources(request), requests.path_id(request, "hostId"))
    return success(request, document_clusters.host(found))


async def list_exporters(request: Request) -> Response:
    """GET /api/v2/obproxy/exporters: without an envelope, as Prometheus wants it."""
    return JSONResponse(await exporters.targets(requests.resources(request).database))
