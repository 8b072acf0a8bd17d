"""Pages of OBProxy clusters and their servers."""

from collections import Counter
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from service.api.request_schemas import PageQuery
from service.fleet import available_hosts, clusters
from service.http import requests
from service.pages.rendering import render

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
    last_tasks = await available_hosts.latest_tasks_of_servers(resources.database, cluster.servers)
    return render(request, "cluster.html", cluster=cluster, last_tasks=last_tasks)
