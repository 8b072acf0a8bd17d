"""The service itself: parse, do it, answer. Nothing is decided here."""

import asyncio
from datetime import UTC, datetime

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from service import __version__, audit, document, requests
from service.database import fetch
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
    try:
        async with asyncio.timeout(DATABASE_PATIENCE), requests.resources(request).database.transaction() as connection:
            await fetch(connection, "ping")
    except (psycopg.Error, TimeoutError):
        return PlainTextResponse("bad", status_code=503)
    return PlainTextResponse("okay")
