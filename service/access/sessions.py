"""Who is logged in to the pages: a random token in the browser's cookie, its digest in the database."""

import hashlib
import hmac
import secrets

from service.access.users import User, from_row
from service.store.database import Database, execute, fetch
from service.store.database_errors import retry_contention


@retry_contention
async def start(database: Database, user: User, *, hours: int) -> str:
    """Log `user` in for at most `hours`; the token, which is never shown again."""
    token = secrets.token_urlsafe(32)
    async with database.transaction() as connection:
        await execute(connection, "insert_session", digest=_digest(token), user_id=user.id, hours=hours)
    return token


async def find(database: Database, token: str) -> User | None:
    """Whose a token is; None when it is nobody's, has run out, or its user is disabled."""
    async with database.single() as connection:
        rows = await fetch(connection, "user_of_session", digest=_digest(token))
    return from_row(rows[0]) if rows else None


@retry_contention
async def end(database: Database, token: str) -> None:
    """Log the bearer of a token out."""
    async with database.transaction() as connection:
        await execute(connection, "delete_session", digest=_digest(token))


def form_token(token: str) -> str:
    """What a page's forms send along, to prove that they are ours: another site's page cannot know it."""
    return hmac.new(token.encode(), b"form", "sha256").hexdigest()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
