"""Everything that can be asked for, put together: the routes and the API's description are made from these tables."""

from functools import cache, wraps

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service import __version__, pages, routes_events, routes_obproxy, routes_service, routes_tasks
from service.auth import demand
from service.openapi import Endpoint, Operation, describe
from service.permissions import ANY_USER, ANYBODY
from service.routes_pages import PAGES, PageRoute
from service.types import JSON


async def openapi(request: Request) -> Response:
    """GET /openapi.json"""
    return JSONResponse(_description())


async def docs(request: Request) -> Response:
    """GET /docs"""
    return HTMLResponse(_docs(pages.theme_of(request)), headers={"Vary": "Cookie"})


@cache
def _description() -> JSON:
    return describe(OPERATIONS, __version__)


@cache
def _docs(theme: str) -> str:
    return pages.docs(_description(), theme)


OPERATIONS = (
    *routes_obproxy.OPERATIONS,
    *routes_tasks.OPERATIONS,
    *routes_events.OPERATIONS,
    *routes_service.OPERATIONS,
)

ALL: tuple[Operation | PageRoute, ...] = (*OPERATIONS, *PAGES)

OPEN_PATHS = [route.path for route in ALL if route.needs == ANYBODY]


def routes() -> list[Route]:
    """The routes of both tables, each for those who may, and those to the API's description."""
    return [
        *(Route(route.path, _guarded(route.endpoint, route.needs), methods=[route.method]) for route in ALL),
        Route("/openapi.json", _guarded(openapi, ANY_USER)),
        Route("/docs", _guarded(docs, ANY_USER)),
    ]


def _guarded(endpoint: Endpoint, needs: str) -> Endpoint:
    @wraps(endpoint)
    async def guarded(request: Request) -> Response:
        demand(request, needs)
        return await endpoint(request)

    return guarded
