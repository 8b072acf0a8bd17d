"""Pages of OBProxy clusters and their servers."""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.access.roles import READ_TASK, permitted
from service.api.queries import PageQuery
from service.fleet import available_hosts, clusters, deviations, parameters
from service.fleet.deviations import Deviation
from service.http import requests
from service.http.envelope import trace_id
from service.model.errors import NoSuchPath
from service.model.fleet import ServerParameter
from service.model.workflow import REFRESH, RELEASE, RESTART
from service.pages.addresses import with_query
from service.pages.queries import ClusterPageQuery
from service.pages.rendering import render
from service.tasks import managed_servers
from service.tasks.managed_servers import ServersRequest
from service.tasks.resources import Resources

WORKFLOWS = (REFRESH, RESTART, RELEASE)  # without permission for a restart that disconnects clients
FORGET = "forget"  # a release that leaves out the host, which is gone
PAGE_SIZES = (10, 50, 100, 500)


async def list_clusters(request: Request) -> Response:
    """Serve GET /clusters."""
    resources = requests.resources(request)
    query = requests.parse_query(request, PageQuery)
    found, total = await clusters.page(resources, query.page)
    statuses = {cluster.id: Counter(server.status for server in cluster.servers) for cluster in found}
    return render(
        request,
        "clusters.html",
        clusters=found,
        statuses=statuses,
        total=total,
        page=query.page,
        sizes=PAGE_SIZES,
        with_query=lambda **changes: "/clusters?" + urlencode({"size": query.page.size, **changes}),
        inventory_problem=resources.inventory.problem,
    )


async def show_cluster(request: Request) -> Response:
    """Serve GET /clusters/{id}."""
    resources = requests.resources(request)
    cluster = await clusters.get(resources, requests.path_id(request, "id"))
    query = requests.parse_query(request, ClusterPageQuery)
    page = query.page
    shown = cluster.servers[(page.number - 1) * page.size : page.number * page.size]
    last_tasks = await available_hosts.latest_tasks_of_servers(resources.database, shown)
    hosts = (await resources.inventory.current()).hosts
    deviating = deviations.group(cluster.servers)
    return render(
        request,
        "cluster.html",
        cluster=cluster,
        servers=shown,
        total=len(cluster.servers),
        query=query,
        sizes=PAGE_SIZES,
        with_query=lambda **changes: with_query(request, **changes),
        last_tasks=last_tasks,
        deviations=deviating,
        parameters=await _parameters(resources, cluster.id, deviating) if query.view == "parameters" else (),
        unread=sum(server.parameter_drift is None for server in cluster.servers),
        gone={server.id for server in cluster.servers if server.host_id not in hosts},
    )


async def _parameters(
    resources: Resources, cluster_id: int, deviating: Sequence[Deviation]
) -> list[tuple[ServerParameter, Sequence[Deviation]]]:
    """Return the parameters of a cluster's servers with their deviations, those with deviations first."""
    of_name: dict[str, list[Deviation]] = {}
    for deviation in deviating:
        of_name.setdefault(deviation.name, []).append(deviation)
    every = await parameters.of_cluster(resources, cluster_id)
    found = [(parameter, of_name.get(parameter.name, [])) for parameter in every]
    return sorted(found, key=lambda each: not each[1])


async def submit_workflow(request: Request) -> Response:
    """Serve POST /clusters/{id}/servers/{obproxyId}/{operation}: refresh, restart or release one OBProxy server.

    With the operation `forget`, its host is gone: the service only forgets the server.
    """
    resources = requests.resources(request)
    cluster_id, workflow = requests.path_id(request, "id"), request.path_params["operation"]
    forget = workflow == FORGET
    workflow = RELEASE if forget else workflow
    if workflow not in WORKFLOWS:
        raise NoSuchPath(path=request.scope["path"])
    server_id = requests.path_id(request, "obproxyId")
    servers = ServersRequest(
        object_name="path",
        cluster_id=cluster_id,
        server_ids=[server_id],
        skip_host_ids=[server_id] if forget else [],
        ids_field="obproxyId",
    )
    ((task, _),) = await managed_servers.submit(
        resources, resources.workflows[workflow], servers, creator=request.user, trace_id=trace_id(request)
    )
    page = f"/tasks/{task.id}" if permitted(request.user.roles, READ_TASK) else f"/clusters/{cluster_id}"
    return RedirectResponse(page, 303)
