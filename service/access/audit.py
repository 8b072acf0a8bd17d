"""The record of who has changed what, or tried to: in a table, and each call in the log as well."""

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
from service.store.database import Database, execute, fetch, fetch_as
from service.store.database_errors import retry_contention

log = logging.getLogger(__name__)

BEGUN = 0  # the status of a call that has not been answered yet, or whose end could not be recorded
REJECTED, FAILED = 400, 500  # the status of a command that was rejected, or has failed
LONGEST_PATH = 500  # characters that are kept of a path; no path of this service is as long


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
    """Record a call before it changes anything, and return the record's id: without a record nothing is done."""
    async with database.single() as connection:
        (row,) = await fetch(connection, "insert_audit_event", **_values(replace(call, status=BEGUN)))
    number: int = row["id"]
    return number


async def record(database: Database, call: AuditCall, begun: int | None = None) -> None:
    """Record a call with its status, in the log as well; `begun` is the id that its record has already."""
    values = _values(call)
    log.info(
        "%s %s by %s from %s: %s (trace id %s)",
        *(call.method, values["path"], call.user_name or "nobody", call.client, call.status, call.trace_id or "none"),
        extra={"action": "audit", **values},
    )
    await _write(database, values, begun)


async def end(database: Database, call: AuditCall, begun: int | None) -> None:
    """Record a call that is over. A failure is only logged: what the call has changed has a record already."""
    try:
        await record(database, call, begun)
    except psycopg.Error as error:
        log.error("A call could not be recorded: %s", error, extra={"action": "audit_failed"})


@asynccontextmanager
async def recording(database: Database, call: AuditCall) -> AsyncIterator[None]:
    """Record a call around what it does; nothing is done when its record cannot be written."""
    begun, status = await begin(database, call), FAILED
    try:
        yield
        status = call.status
    except TakeoverError:
        status = REJECTED
        raise
    finally:
        await end(database, replace(call, status=status), begun)


@retry_contention
async def _write(database: Database, values: JSON, begun: int | None) -> None:
    async with database.single() as connection:
        if begun is None:
            await execute(connection, "insert_audit_event", **values)
        else:
            await execute(connection, "set_audit_event_status", id=begun, status=values["status"])


def _values(call: AuditCall) -> JSON:
    return {**vars(call), "path": call.path[:LONGEST_PATH]}


async def events(database: Database, page: Page, user_name: str | None) -> tuple[Sequence[rows.AuditEvent], int]:
    """One page of what was kept, the newest first, of one user or of all; and how much there is."""
    where = {"user_name": user_name}
    async with database.transaction() as connection:
        part = {"size": page.size, "offset": (page.number - 1) * page.size}
        found = await fetch_as(connection, rows.AuditEvent, "audit_events", **where, **part)
        [count] = await fetch(connection, "count_audit_events", **where)
    return found, count["total"]


def audit_event(row: rows.AuditEvent) -> AuditEvent:
    """Return the document of a recorded request."""
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
