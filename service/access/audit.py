"""The record of who has changed what, or tried to: in a table, and each call in the log as well."""

import logging
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from service.model import audit as rows
from service.model.audit import AuditCall
from service.model.types import Page
from service.model.wire import Timestamp, present, timestamp
from service.store.database import Database, execute, fetch, fetch_as

log = logging.getLogger(__name__)

LONGEST_PATH = 500  # characters that are kept of a path; no path of this service is as long


class AuditEvent(TypedDict):
    """A recorded request. `userName` is missing without authentication; then `calls` counts the requests."""

    calls: int
    client: str
    id: int
    method: str
    path: str
    status: int
    time: Timestamp
    traceId: str
    userName: NotRequired[str | None]


async def record(database: Database, call: AuditCall) -> None:
    """Keep a call."""
    values = {**vars(call), "path": call.path[:LONGEST_PATH]}
    log.info(
        "%s %s by %s from %s: %s (trace id %s)",
        *(call.method, values["path"], call.user_name or "nobody", call.client, call.status, call.trace_id or "none"),
        extra={"action": "audit", **values},
    )
    async with database.single() as connection:
        await execute(connection, "insert_audit_event", **values)


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
