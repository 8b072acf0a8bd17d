"""Failed logins: each makes the next wait longer, and too many block (limits: docs/reference/ocp-api.md 5.1).

Counted in the database, so that it does not help to try another process of the service.
"""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address

import psycopg

from service.access.errors import LoginBlocked
from service.store.database import Connection, Database, execute, fetch
from service.store.database_errors import is_unwritable, retry_contention

DELAY = 0.2  # seconds an answer to a failed login waits, for each failure before it
LONGEST_DELAY = 2.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Limit:
    """After `failures` in a row nobody gets in for `blocked_for`; so old ones are forgotten, too."""

    failures: int
    blocked_for: timedelta


USER = Limit(failures=5, blocked_for=timedelta(minutes=30))
CLIENT = Limit(failures=10, blocked_for=timedelta(minutes=10))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A login that is tried: the name that was given, and the address it comes from."""

    user: str
    client: str

    @property
    def counters(self) -> tuple[tuple[str, str, Limit], ...]:
        """What it counts against; always in this order, so that two never wait for each other."""
        return ("user", self.user, USER), ("client", network(self.client), CLIENT)


def network(address: str) -> str:
    """The address that counts: of IPv6 its /64, for within that a caller can choose any."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return address


async def refuse_blocked(database: Database, attempt: Attempt) -> None:
    """Raise LoginBlocked when too many attempts like this one have failed."""
    async with database.transaction() as connection:
        for kind, name, limit in attempt.counters:
            if await _failures(connection, kind, name, limit) >= limit.failures:
                raise LoginBlocked


@retry_contention
async def failed(database: Database, attempt: Attempt) -> float:
    """Count a failure; gives the seconds that its answer has to wait."""
    async with database.transaction() as connection:
        counts = []
        for kind, name, limit in attempt.counters:
            values = {"kind": kind, "name": name, "blocked_for": limit.blocked_for}
            counts += await fetch(connection, "record_login_failure", **values)
        await execute(connection, "delete_old_login_failures")
    most: int = max(row["failures"] for row in counts)
    return min(LONGEST_DELAY, DELAY * (most - 1))


@retry_contention
async def succeeded(database: Database, attempt: Attempt) -> None:
    """Forget the failures of the user; those of the address stay, or one's own login would clear them for guessing."""
    try:
        async with database.transaction() as connection:
            await execute(connection, "delete_login_failures", name=attempt.user)
    except psycopg.Error as error:
        # Reading goes on while the database cannot be written; failures that are kept only make throttling stricter.
        if not is_unwritable(error):
            raise


async def _failures(connection: Connection, kind: str, name: str, limit: Limit) -> int:
    rows = await fetch(connection, "recent_login_failures", kind=kind, name=name, blocked_for=limit.blocked_for)
    return rows[0]["failures"] if rows else 0
