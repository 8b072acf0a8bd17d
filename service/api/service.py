"""The service itself: parse, do it, answer. Nothing is decided here."""

import asyncio
from datetime import UTC, datetime

import psycopg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from service import __version__
from service.access import audit
from service.access.roles import ANY_USER, PUBLIC, READ_AUDIT, READ_TASK
from service.api import request_schemas
from service.api.request_schemas import AuditQuery
from service.fleet import prometheus
from service.http import envelope_schema, requests
from service.http.envelope import SERVER, page_of, success
from service.http.openapi import Operation
from service.model import wire
from service.observe.metrics import REGISTRY
from service.store.database import fetch
from service.store.readiness import Problem, find_problem

DATABASE_PATIENCE = 3.0  # seconds after which a database that does not answer counts as gone


class Info(envelope_schema.Answer):
    """Name and version of this service."""

    buildVersion: str
    name: str
    server: str


async def list_audit_events(request: Request) -> Response:
    """GET /api/v2/audit/events"""
    query = requests.query(request, AuditQuery)
    found, total = await audit.events(requests.resources(request).database, query.page, query.user_name)
    return success(request, page_of([audit.audit_event(event) for event in found], query.page, total))


async def info(request: Request) -> Response:
    """GET /api/v2/info: without an envelope, as OCP Express answers it."""
    return JSONResponse(Info(buildVersion=__version__, name="obproxy-takeover", server=SERVER).model_dump())


async def server_time(request: Request) -> Response:
    """GET /api/v2/time: plain text (docs/reference/ocp-api.md 1.5)."""
    return PlainTextResponse(wire.timestamp(datetime.now(UTC)))


async def status(request: Request) -> Response:
    """GET /api/status: `okay`, or `bad` with 503 when the database does not answer."""
    return PlainTextResponse("okay") if await _answers(request) else PlainTextResponse("bad", status_code=503)


async def live(request: Request) -> Response:
    """GET /health/live: as long as the process can answer at all; what it needs from others is not looked at."""
    return PlainTextResponse("alive")


async def ready(request: Request) -> Response:
    """GET /health/ready: whether requests can be answered, which needs a database that can be written.

    The inventory is not: without it running takeovers can still be watched, and every process would be unready at once.
    """
    problem = await find_problem(requests.resources(request).database)
    return PlainTextResponse(f"not ready: {problem}", status_code=503) if problem else PlainTextResponse("ready")


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
            rows = await prometheus.read(resources)
    except (psycopg.Error, TimeoutError):
        rows = None
    shared = prometheus.render(rows, inventory_readable=resources.inventory.problem is None)
    return Response(generate_latest(REGISTRY) + shared, media_type=CONTENT_TYPE_LATEST)


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v2/audit/events",
        endpoint=list_audit_events,
        needs=READ_AUDIT,
        summary="Who has changed what, or tried to, the newest first",
        query=request_schemas.AuditQuery,
        answer=envelope_schema.Success[envelope_schema.PageOf[audit.AuditEvent]],
    ),
    Operation(
        method="GET",
        path="/api/v2/info",
        endpoint=info,
        needs=ANY_USER,
        summary="What this service is",
        answer=Info,
    ),
    Operation(
        method="GET",
        path="/api/v2/time",
        endpoint=server_time,
        needs=PUBLIC,
        summary="What time it is here",
    ),
    Operation(
        method="GET",
        path="/api/status",
        endpoint=status,
        needs=PUBLIC,
        summary="okay, or bad when the database does not answer",
        texts={503: "bad"},
    ),
    Operation(
        method="GET",
        path="/health/live",
        endpoint=live,
        needs=PUBLIC,
        summary="alive, as long as the process answers",
    ),
    Operation(
        method="GET",
        path="/health/ready",
        endpoint=ready,
        needs=PUBLIC,
        summary="ready, or not ready and why: the database does not answer or cannot be written",
        texts={503: f"not ready: {Problem.LOST}"},
    ),
    Operation(
        method="GET",
        path="/metrics",
        endpoint=prometheus_metrics,
        needs=READ_TASK,
        summary="What Prometheus is to know of the service and of this process",
    ),
)
