"""Everything that can be asked for, put together: the routes and their description are made from these tables."""

from collections.abc import Awaitable, Callable
from functools import cache, wraps

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service import __version__, pages, routes_events, routes_obproxy, routes_service, routes_tasks
from service.auth import demand
from service.openapi import Operation, describe
from service.permissions import ANYBODY
from service.types import JSON


async def openapi(request: Request) -> Response:
    """GET /openapi.json"""
    return JSONResponse(_description())


async def docs(request: Request) -> Response:
    """GET /docs"""
    return HTMLResponse(_docs())


async def docs_style(request: Request) -> Response:
    """GET /docs.css"""
    return Response(pages.DOCS_STYLE, media_type="text/css")


@cache
def _description() -> JSON:
    return describe(OPERATIONS, __version__)


@cache
def _docs() -> str:
    return pages.docs(_description())


OPERATIONS = (
    *routes_obproxy.OPERATIONS,
    *routes_tasks.OPERATIONS,
    *routes_events.OPERATIONS,
    *routes_service.OPERATIONS,
)

OPEN_PATHS = [operation.path for operation in OPERATIONS if operation.needs == ANYBODY]


def routes() -> list[Route]:
    """The routes of OPERATIONS, each for those who may, and those to their description."""
    return [
        *(Route(operation.path, _guarded(operation), methods=[operation.method]) for operation in OPERATIONS),
        Route("/openapi.json", openapi),
        Route("/docs", docs),
        Route("/docs.css", docs_style),
    ]


def _guarded(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    @wraps(operation.endpoint)
    async def endpoint(request: Request) -> Response:
        demand(request, operation.needs)
        return await operation.endpoint(request)

    return endpoint
