"""Audit records of state-changing calls."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class AuditCall:
    """One state-changing call: user (None = not authenticated), client address, request and response status."""

    user_name: str | None
    client: str
    method: str
    path: str
    status: int
    trace_id: str


@dataclass(frozen=True, kw_only=True)
class AuditEvent(AuditCall):
    """A stored audit record. Unauthenticated calls from one address in one minute are one record, with a count."""

    id: int
    time: datetime
    calls: int
