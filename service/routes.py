"""Everything that can be asked for, put together: the routes and the API's description are made from these tables."""

from functools import cache, wraps

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service import __version__
from service.access.roles import ANY_USER, PUBLIC, is_read_permission
from service.api import events, obproxy, service, tasks
from service.http import requests
from service.http.authentication import SAFE_METHODS, demand
from service.http.guards import begin_record
from service.http.openapi import Endpoint, Operation, describe
from service.model.types import JSON
from service.pages import rendering
from service.pages.routes import PAGES, PageRoute


async def openapi(request: Request) -> Response:
    """GET /openapi.json"""
    return JSONResponse(_description())


async def docs(request: Request) -> Response:
    """GET /docs"""
    return HTMLResponse(_docs(rendering.theme_of(request)), headers={"Vary": "Cookie"})


@cache
def _description() -> JSON:
    return describe(OPERATIONS, __version__)


@cache
def _docs(theme: str) -> str:
    return rendering.render_openapi(_description(), theme)


OPERATIONS = (
    *obproxy.OPERATIONS,
    *tasks.OPERATIONS,
    *events.OPERATIONS,
    *service.OPERATIONS,
)

ALL: tuple[Operation | PageRoute, ...] = (*OPERATIONS, *PAGES)

OPEN_PATHS = [route.path for route in ALL if route.needs == PUBLIC]


def routes() -> list[Route]:
    """The routes of both tables, each for those who may, and those to the API's description."""
    return [
        *(Route(route.path, _guarded(_endpoint(route), route.needs), methods=[route.method]) for route in ALL),
        Route("/openapi.json", _guarded(openapi, ANY_USER)),
        Route("/docs", _guarded(docs, ANY_USER)),
    ]


def _endpoint(route: Operation | PageRoute) -> Endpoint:
    """Return the endpoint of a route; an operation rejects unknown query parameters, a page and a probe ignore them."""
    if not isinstance(route, Operation) or route.needs == PUBLIC:
        return route.endpoint

    @wraps(route.endpoint)
    async def checked(request: Request) -> Response:
        requests.reject_unknown_parameters(request, route.query)
        return await route.endpoint(request)

    return checked


def _guarded(endpoint: Endpoint, needs: str) -> Endpoint:
    @wraps(endpoint)
    async def guarded(request: Request) -> Response:
        demand(request, needs)
        if request.method not in SAFE_METHODS and not is_read_permission(needs):
            await begin_record(request.scope)
        return await endpoint(request)

    return guarded
