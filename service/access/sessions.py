"""Sessions of the pages: a random token in the browser's cookie, its digest in the database."""

import hashlib
import hmac
import secrets

from service.access.users import User, user_from_row
from service.store.database import Database, execute, fetch
from service.store.database_errors import retry_contention


@retry_contention
async def start(database: Database, user: User, *, hours: int) -> str:
    """Start a session that ends after `hours`; return its token, which cannot be read again."""
    token = secrets.token_urlsafe(32)
    async with database.transaction() as connection:
        await execute(connection, "insert_session", digest=_digest(token), user_id=user.id, hours=hours)
    return token


async def find_user(database: Database, token: str) -> User | None:
    """Return the user of a session; None when the token is unknown or expired, or the user is disabled."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "user_of_session", digest=_digest(token))
    return user_from_row(rows[0]) if rows else None


@retry_contention
async def end(database: Database, token: str) -> None:
    """End the session of a token."""
    async with database.transaction() as connection:
        await execute(connection, "delete_session", digest=_digest(token))


def csrf_token(token: str) -> str:
    """Return the CSRF token of a session. Forms and scripts send it; a page of another site cannot know it."""
    return hmac.new(token.encode(), b"form", "sha256").hexdigest()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
