"""The route table of the service, joined from all resources and pages, and the OpenAPI document made from it."""

from functools import cache, wraps
from itertools import chain

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service import __version__
from service.access.errors import SignatureUsed
from service.access.roles import ANY_USER, PUBLIC, is_read_permission
from service.api import discoveries, events, fleet, obproxy, service, tasks
from service.api import requests as request_api
from service.http import requests
from service.http.audit import begin_record
from service.http.authentication import SAFE_METHODS, is_repeated, require_permission
from service.http.openapi import Endpoint, Operation, Resource, describe
from service.model.types import JSON
from service.pages import rendering
from service.pages.routes import PAGES, PageRoute


async def openapi(request: Request) -> Response:
    """Return the OpenAPI document: GET /openapi.json."""
    return JSONResponse(_description())


async def docs(request: Request) -> Response:
    """Return the page that shows the OpenAPI document: GET /docs."""
    return HTMLResponse(_docs(rendering.theme_of(request)), headers={"Vary": "Cookie"})


@cache
def _description() -> JSON:
    return describe(RESOURCES, __version__)


@cache
def _docs(theme: str) -> str:
    return rendering.render_openapi(_description(), theme)


RESOURCES = (
    Resource("obproxy", "OBProxy clusters, servers, parameters and hosts", (*obproxy.OPERATIONS, *fleet.OPERATIONS)),
    Resource("discoveries", "Which OBProxies run on the hosts", discoveries.OPERATIONS),
    Resource("requests", "Task instances that were submitted together", request_api.OPERATIONS),
    Resource("tasks", "Task instances and subtasks", tasks.OPERATIONS),
    Resource("events", "Streams of server-sent events", events.OPERATIONS),
    Resource("service", "Health, metrics, version and audit log of the service", service.OPERATIONS),
)

OPERATIONS = tuple(chain.from_iterable(resource.operations for resource in RESOURCES))

ALL_ROUTES: tuple[Operation | PageRoute, ...] = (*OPERATIONS, *PAGES)

PUBLIC_PATHS = [route.path for route in ALL_ROUTES if route.permission == PUBLIC]


def routes() -> list[Route]:
    """Return all routes with their permission checks, and those of the OpenAPI document."""
    return [
        *(Route(route.path, _routed(route), methods=[route.method]) for route in ALL_ROUTES),
        Route("/openapi.json", _guarded(openapi, ANY_USER)),
        Route("/docs", _guarded(docs, ANY_USER)),
    ]


def _routed(route: Operation | PageRoute) -> Endpoint:
    """Return the guarded endpoint of a route. Pages and probes ignore unknown query parameters."""
    if not isinstance(route, Operation) or route.permission == PUBLIC:
        return _guarded(route.endpoint, route.permission)

    @wraps(route.endpoint)
    async def checked(request: Request) -> Response:
        requests.reject_unknown_parameters(request, route.query)
        return await route.endpoint(request)

    return _guarded(checked, route.permission, repeatable=requests.IDEMPOTENCY_KEY in route.headers)


def _guarded(endpoint: Endpoint, permission: str, *, repeatable: bool = False) -> Endpoint:
    """Check the permission, then write the audit event of a change, then call the endpoint.

    A repeated signature passes only where it can get its stored response (`repeatable`).
    """

    @wraps(endpoint)
    async def guarded(request: Request) -> Response:
        require_permission(request, permission)
        if is_repeated(request) and not repeatable:
            raise SignatureUsed
        if request.method not in SAFE_METHODS and not is_read_permission(permission):
            await begin_record(request.scope)
        return await endpoint(request)

    return guarded
