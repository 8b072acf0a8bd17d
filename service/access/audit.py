"""Audit log: who has changed what, or tried to. Events are rows of a table, and lines of the service's log."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NotRequired, TypedDict

import psycopg

from service.model import audit as rows
from service.model.audit import AuditCall
from service.model.errors import TakeoverError
from service.model.types import JSON, Page
from service.model.wire import Timestamp, present, timestamp
from service.store.database import Connection, Database, execute, fetch, fetch_as
from service.store.database_errors import retry_contention

log = logging.getLogger(__name__)

UNANSWERED = 0  # status of a call that has no response yet, or whose result could not be recorded
REJECTED, FAILED = 400, 500  # status of a command that was rejected, or that failed
PATH_LIMIT = 500  # characters of a path that are stored; every path of this service is shorter


class AuditEvent(TypedDict):
    """A recorded request. `userName` is missing without authentication; then `calls` counts the requests.

    `status` is 0 while the request is being answered, and stays 0 when its result could not be recorded.
    """

    calls: int
    client: str
    id: int
    method: str
    path: str
    status: int
    time: Timestamp
    traceId: str
    userName: NotRequired[str | None]


@retry_contention
async def begin(database: Database, call: AuditCall) -> int:
    """Record a call before it changes anything; return the id of its audit event.

    Raise psycopg.Error when the event cannot be written; the caller then changes nothing.
    """
    async with database.autocommit() as connection:
        return await _begin(connection, call)


@retry_contention
async def begin_all(database: Database, calls: Sequence[AuditCall]) -> list[int]:
    """Record several calls like `begin`, all or none; return the ids of their audit events."""
    async with database.transaction() as connection:
        return [await _begin(connection, call) for call in calls]


async def record(database: Database, call: AuditCall, event_id: int | None = None) -> None:
    """Record a call with its status, in the table and in the log; `event_id` is the event that `begin` has written."""
    values = _values(call)
    log.info(
        "%s %s by %s from %s: %s (trace id %s)",
        *(call.method, values["path"], call.user_name or "none", call.client, call.status, call.trace_id or "none"),
        extra={"action": "audit", **values},
    )
    await _write(database, values, event_id)


async def end(database: Database, call: AuditCall, event_id: int | None) -> None:
    """Record the status of a call that has ended. A database error is only logged: `begin` has written the event."""
    try:
        await record(database, call, event_id)
    except psycopg.Error as error:
        log.error("Could not record the status of a call: %s", error, extra={"action": "audit_failed"})


@asynccontextmanager
async def recorded(database: Database, call: AuditCall) -> AsyncIterator[None]:
    """Record a call before and after the `with` block; raise psycopg.Error before the block when that fails."""
    event_id, status = await begin(database, call), FAILED
    try:
        yield
        status = call.status
    except TakeoverError:
        status = REJECTED
        raise
    finally:
        await end(database, replace(call, status=status), event_id)


async def _begin(connection: Connection, call: AuditCall) -> int:
    (row,) = await fetch(connection, "insert_audit_event", **_values(replace(call, status=UNANSWERED)))
    event_id: int = row["id"]
    return event_id


@retry_contention
async def _write(database: Database, values: JSON, event_id: int | None) -> None:
    async with database.autocommit() as connection:
        if event_id is None:
            await execute(connection, "insert_audit_event", **values)
        else:
            await execute(connection, "set_audit_event_status", id=event_id, status=values["status"])


def _values(call: AuditCall) -> JSON:
    return {**vars(call), "path": call.path[:PATH_LIMIT]}


async def events(database: Database, page: Page, user_name: str | None) -> tuple[Sequence[rows.AuditEvent], int]:
    """Return one page of audit events, the newest first, of one user or of all users; and their total number."""
    where = {"user_name": user_name}
    async with database.transaction() as connection:
        part = {"size": page.size, "offset": (page.number - 1) * page.size}
        found = await fetch_as(connection, rows.AuditEvent, "audit_events", **where, **part)
        [count] = await fetch(connection, "count_audit_events", **where)
    return found, count["total"]


def audit_event(row: rows.AuditEvent) -> AuditEvent:
    """Return the JSON document of an audit event."""
    document: AuditEvent = {
        "calls": row.calls,
        "client": row.client,
        "id": row.id,
        "method": row.method,
        "path": row.path,
        "status": row.status,
        "time": timestamp(row.time),
        "traceId": row.trace_id,
        "userName": row.user_name,
    }
    return present(document)
