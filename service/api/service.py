"""Endpoints of the service itself: audit log, version, time, status, health, metrics."""

import asyncio
from datetime import UTC, datetime

import psycopg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from service import __version__
from service.access import audit
from service.access.roles import ANY_USER, PUBLIC, READ_AUDIT, READ_TASK
from service.api.queries import AuditQuery
from service.fleet import prometheus
from service.http import envelope_schema, requests
from service.http.envelope import SERVER_ID, page_data, success_response
from service.http.openapi import Operation
from service.model import wire
from service.observe.metrics import REGISTRY
from service.store import readiness
from service.store.database import fetch
from service.store.readiness import Problem, find_problem


class Info(envelope_schema.ResponseModel):
    """Name, version and installation id of this service."""

    buildVersion: str
    name: str
    server: str


async def list_audit_events(request: Request) -> Response:
    """List audit events: GET /api/v2/audit/events."""
    query = requests.parse_query(request, AuditQuery)
    found, total = await audit.events(requests.resources(request).database, query.page, query.user_name)
    return success_response(request, page_data([audit.audit_event(event) for event in found], query.page, total))


async def info(request: Request) -> Response:
    """Return name and version, without an envelope as in OCP Express: GET /api/v2/info."""
    return JSONResponse(Info(buildVersion=__version__, name="obproxy-takeover", server=SERVER_ID).model_dump())


async def server_time(request: Request) -> Response:
    """Return the time as plain text: GET /api/v2/time (docs/reference/ocp-api.md 1.5)."""
    return PlainTextResponse(wire.timestamp(datetime.now(UTC)))


async def status(request: Request) -> Response:
    """Return `okay`, or `bad` with 503 when the database does not answer: GET /api/status."""
    return PlainTextResponse("okay") if await _database_answers(request) else PlainTextResponse("bad", status_code=503)


async def live(request: Request) -> Response:
    """Return `alive` while the process responds, whatever the state of the database: GET /health/live."""
    return PlainTextResponse("alive")


async def ready(request: Request) -> Response:
    """Return `ready`, or 503 and the problem of the database: GET /health/ready.

    An unreadable inventory does not count: running takeovers can be watched without it, and all processes would become
    unready at the same time.
    """
    problem = await find_problem(requests.resources(request).database)
    return PlainTextResponse(f"not ready: {problem}", status_code=503) if problem else PlainTextResponse("ready")


async def _database_answers(request: Request) -> bool:
    try:
        async with asyncio.timeout(readiness.TIMEOUT), requests.resources(request).database.transaction() as connection:
            await fetch(connection, "ping")
    except (psycopg.Error, TimeoutError):
        return False
    return True


async def prometheus_metrics(request: Request) -> Response:
    """Return the metrics of this process, and those of the database shared by all processes: GET /metrics."""
    resources = requests.resources(request)
    try:
        async with asyncio.timeout(readiness.TIMEOUT):
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
        permission=READ_AUDIT,
        summary="List audit events, the newest first",
        query=AuditQuery,
        response=envelope_schema.Success[envelope_schema.PageOf[audit.AuditEvent]],
    ),
    Operation(
        method="GET",
        path="/api/v2/info",
        endpoint=info,
        permission=ANY_USER,
        summary="Get name and version of the service",
        response=Info,
    ),
    Operation(
        method="GET",
        path="/api/v2/time",
        endpoint=server_time,
        permission=PUBLIC,
        summary="Get the time of the service",
    ),
    Operation(
        method="GET",
        path="/api/status",
        endpoint=status,
        permission=PUBLIC,
        summary="Check the database: okay, or bad when it does not answer",
        text_responses={503: "bad"},
    ),
    Operation(
        method="GET",
        path="/health/live",
        endpoint=live,
        permission=PUBLIC,
        summary="Check the process: alive",
    ),
    Operation(
        method="GET",
        path="/health/ready",
        endpoint=ready,
        permission=PUBLIC,
        summary="Check readiness: ready, or not ready with the problem of the database",
        text_responses={503: f"not ready: {Problem.LOST}"},
    ),
    Operation(
        method="GET",
        path="/metrics",
        endpoint=prometheus_metrics,
        permission=READ_TASK,
        summary="Get the metrics of the service and of this process, for Prometheus",
    ),
)
