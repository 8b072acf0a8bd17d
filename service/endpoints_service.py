"""The service itself: parse, do it, answer. Nothing is decided here."""

import asyncio
from datetime import UTC, datetime

import psycopg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from service import __version__, audit, document, measures, requests
from service.database import fetch
from service.metrics import REGISTRY
from service.responses import SERVER, page_of, success
from service.schemas import AuditQuery

DATABASE_PATIENCE = 3.0  # seconds after which a database that does not answer counts as gone


async def list_audit_events(request: Request) -> Response:
    """GET /api/v2/audit/events"""
    query = requests.query(request, AuditQuery)
    found, total = await audit.events(requests.resources(request).database, query.page, query.user_name)
    return success(request, page_of([document.audit_event(event) for event in found], query.page, total))


async def info(request: Request) -> Response:
    """GET /api/v2/info: without an envelope, as OCP Express answers it."""
    return JSONResponse({"buildVersion": __version__, "name": "obproxy-takeover", "server": SERVER})


async def server_time(request: Request) -> Response:
    """GET /api/v2/time: plain text (facts/ocp-api.md 1.5)."""
    return PlainTextResponse(document.timestamp(datetime.now(UTC)))


async def status(request: Request) -> Response:
    """GET /api/status: `okay`, or `bad` with 503 when the database does not answer."""
    return PlainTextResponse("okay") if await _answers(request) else PlainTextResponse("bad", status_code=503)


async def live(request: Request) -> Response:
    """GET /health/live: as long as the process can answer at all; what it needs from others is not looked at."""
    return PlainTextResponse("alive")


async def ready(request: Request) -> Response:
    """GET /health/ready: whether requests can be answered, which the database is needed for.

    The inventory is not: without it running takeovers can still be watched, and every process would be unready at once.
    """
    return PlainTextResponse("ready") if await _answers(request) else PlainTextResponse("not ready", status_code=503)


async def _answers(request: Request) -> bool:
    """Whether the database does."""
    try:
        async with asyncio.timeout(DATABASE_PATIENCE), requests.resources(request).database.transaction() as connection:
            await fetch(connection, "ping")
    except (psycopg.Error, TimeoutError):
        return False
    return True


async def prometheus_metrics(request: Request) -> Response:
    """GET /metrics: what this process has counted, and what the database says of all of them."""
    resources = requests.resources(request)
    try:
        async with asyncio.timeout(DATABASE_PATIENCE):
            rows = await measures.read(resources)
    except (psycopg.Error, TimeoutError):
        rows = None
    shared = measures.render(rows, inventory_readable=resources.inventory.problem is None)
    return Response(generate_latest(REGISTRY) + shared, media_type=CONTENT_TYPE_LATEST)
