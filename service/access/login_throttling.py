"""Brute-force protection of logins: delays after failures, then a block (limits: docs/reference/ocp-api.md 5.1).

Failures are counted in the database, so the limits apply to all processes of the service together.
"""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address

import psycopg

from service.access.errors import LoginBlocked
from service.store.database import Connection, Database, execute, fetch
from service.store.database_errors import is_unwritable, retry_contention

DELAY_STEP = 0.2  # seconds that the response to a failed login is delayed, for each earlier failure
DELAY_LIMIT = 2.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Block logins for `blocked_for` after `failures` in a row. Older failures are not counted."""

    failures: int
    blocked_for: timedelta


USER_LIMIT = Limit(failures=5, blocked_for=timedelta(minutes=30))
CLIENT_LIMIT = Limit(failures=10, blocked_for=timedelta(minutes=10))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A login attempt: the user name in it, and the address of the client."""

    user: str
    client: str

    @property
    def counters(self) -> tuple[tuple[str, str, Limit], ...]:
        """Kind, name and limit of each counter of this attempt. The order is fixed, which avoids deadlocks."""
        return ("user", self.user, USER_LIMIT), ("client", client_network(self.client), CLIENT_LIMIT)


def client_network(address: str) -> str:
    """Return the address to count failures for: an IPv6 client can use any address of its /64, so that is the unit."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return address


async def raise_if_blocked(database: Database, attempt: Attempt) -> None:
    """Raise LoginBlocked when the user or the client has too many recent failures."""
    async with database.transaction() as connection:
        for kind, name, limit in attempt.counters:
            if await _failures(connection, kind, name, limit) >= limit.failures:
                raise LoginBlocked


@retry_contention
async def record_failure(database: Database, attempt: Attempt) -> float:
    """Count a failed login; return the delay of its response in seconds."""
    async with database.transaction() as connection:
        counts = []
        for kind, name, limit in attempt.counters:
            values = {"kind": kind, "name": name, "blocked_for": limit.blocked_for}
            counts += await fetch(connection, "record_login_failure", **values)
        await execute(connection, "delete_old_login_failures")
    failures: int = max(row["failures"] for row in counts)
    return min(DELAY_LIMIT, DELAY_STEP * (failures - 1))


@retry_contention
async def record_success(database: Database, attempt: Attempt) -> None:
    """Reset the failures of the user. Those of the client stay: a valid account must not unlock further guesses."""
    try:
        async with database.transaction() as connection:
            await execute(connection, "delete_login_failures", name=attempt.user)
    except psycopg.Error as error:
        # Reads work while the database cannot be written. A counter that is not reset only makes throttling stricter.
        if not is_unwritable(error):
            raise


async def _failures(connection: Connection, kind: str, name: str, limit: Limit) -> int:
    rows = await fetch(connection, "recent_login_failures", kind=kind, name=name, blocked_for=limit.blocked_for)
    return rows[0]["failures"] if rows else 0
