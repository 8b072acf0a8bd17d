"""Records of calls that are to change something."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class AuditCall:
    """One call that is to change something: by whom (None = nobody was proved), from where, what came of it."""

    user_name: str | None
    client: str
    method: str
    path: str
    status: int
    trace_id: str


@dataclass(frozen=True, kw_only=True)
class AuditEvent(AuditCall):
    """A call as it is kept; nobody's `calls` from one address in one minute are one, with the path of the first."""

    id: int
    time: datetime
    calls: int
