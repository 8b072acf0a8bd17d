"""Page of one host: its OBProxy servers, and the history of its task instances."""

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import READ_OBPROXY, permitted
from service.fleet import discoveries, hosts
from service.fleet.discoveries import HostDiscovery
from service.http import requests
from service.inventory.records import Host
from service.model.errors import UnknownHost
from service.model.tasks import TaskFilter
from service.model.types import Page
from service.model.workflow import PRECHECK
from service.pages.addresses import with_query
from service.pages.queries import HostPageQuery
from service.pages.rendering import render
from service.pages.selection import PAGE_SIZES, page_number
from service.pages.task_rows import rows_of
from service.pages.tasks import LIST
from service.tasks import instances


async def show_host(request: Request) -> Response:
    """Serve GET /hosts/{hostId}. A host that was removed from the inventory keeps its history."""
    resources = requests.resources(request)
    host_id = requests.path_id(request, "hostId")
    query = requests.parse_query(request, HostPageQuery)
    host = (await resources.inventory.current()).hosts.get(host_id)
    filter = TaskFilter(host_id=host_id, order=query.order)
    found, total = await instances.page(resources.database, filter, query.page)
    newest, _ = await instances.page(resources.database, TaskFilter(host_id=host_id), Page(size=1))
    if host is None and not newest:
        raise UnknownHost(host_id=host_id)
    check = TaskFilter(host_id=host_id, name=resources.workflows[PRECHECK].task_name)
    prechecks, _ = await instances.page(resources.database, check, Page(size=1))
    return render(
        request,
        "host.html",
        host_id=host_id,
        host=host,
        name=host.name if host else newest[0][0].host_name,
        servers=await hosts.servers(resources, host_id),
        discovery=await _discovery(request, host),
        precheck=next(iter(await rows_of(resources, prechecks)), None),
        rows=await rows_of(resources, found),
        total=total,
        query=query,
        sizes=PAGE_SIZES,
        with_query=lambda **changes: with_query(request, **changes),
        list_query=with_query(request, LIST, hostId=host_id, page=page_number(request)).removeprefix(LIST),
    )


async def _discovery(request: Request, host: Host | None) -> HostDiscovery | None:
    """Return the last discovery of a host of the inventory, if the user may read it."""
    if host is None or not permitted(request.user.roles, READ_OBPROXY):
        return None
    (found,) = await discoveries.of_hosts(requests.resources(request), [host])
    return found
