"""Classifies database errors (connection lost, contention, not writable), and retries after contention.

psycopg raises OperationalError for a lost connection, a deadlock, a full disk and a canceled query alike. They
differ in their SQLSTATE.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import wraps

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg import errors

MAX_ATTEMPTS = 6  # of a transaction, after deadlocks or serialization failures
RETRY_DELAY = 0.05  # seconds, at most, before the second attempt; doubles with each attempt

CONTENTION = (errors.DeadlockDetected, errors.SerializationFailure)
FULL = (errors.DiskFull,)
READ_ONLY = (errors.ReadOnlySqlTransaction,)
SHUTDOWN = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow)
CONNECTION_EXCEPTION = "08"  # SQLSTATE class

READ_ONLY_MESSAGE = (
    "The database is read-only. If it is a standby, set TAKEOVER_DATABASE_URL to its primary server; otherwise set "
    "default_transaction_read_only to off for the database and its user."
)


def is_lost(error: BaseException | None) -> bool:
    """Return whether the connection to the database is lost or could not be opened."""
    match database_error(error):
        case psycopg.InterfaceError():
            return True
        case psycopg.OperationalError() as found:
            # Without a SQLSTATE, the error is from libpq or the pool: the server did not respond.
            state = found.sqlstate
            return state is None or state.startswith(CONNECTION_EXCEPTION) or isinstance(found, SHUTDOWN)
    return False


def is_contention(error: BaseException | None) -> bool:
    """Return whether a deadlock or a serialization failure rolled the transaction back, so that a retry can succeed."""
    return isinstance(database_error(error), CONTENTION)


def is_read_only(error: BaseException | None) -> bool:
    """Return whether the database is read-only, because of a setting or because it is a standby."""
    return isinstance(database_error(error), READ_ONLY)


def is_unwritable(error: BaseException | None) -> bool:
    """Return whether the database responds but cannot be written: it is read-only, or its disk is full."""
    return isinstance(database_error(error), (*READ_ONLY, *FULL))


def is_transient(error: BaseException | None) -> bool:
    """Return whether the same transaction can succeed later: lost connection, contention, or not writable."""
    return is_lost(error) or is_contention(error) or is_unwritable(error)


def explain(error: BaseException | None) -> str | None:
    """Return what is wrong with the database and what to do; None for any other error.

    libpq's text about a lost connection is left out: it may quote parts of a password.
    """
    if is_read_only(error):
        return READ_ONLY_MESSAGE
    if is_unwritable(error):
        text = " ".join(str(database_error(error)).split())
        return f"The disk of the database is full; free space on it and try again: {text}"
    if is_lost(error):
        return "The database does not answer; check TAKEOVER_DATABASE_URL and the database server."
    return None


def database_error(error: BaseException | None) -> psycopg.Error | None:
    """Return the psycopg error, which Procrastinate may have wrapped; None for any other error."""
    found = error.__cause__ if isinstance(error, ConnectorException) else error
    return found if isinstance(found, psycopg.Error) else None


def retry_contention[**P, R](work: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Decorate a function that is one transaction: retry it after a deadlock or a serialization failure."""

    @wraps(work)
    async def repeated(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(MAX_ATTEMPTS - 1):
            try:
                return await work(*args, **kwargs)
            except (psycopg.Error, ConnectorException) as error:
                if not is_contention(error):
                    raise
            # Random, so that the two transactions do not collide again.
            await asyncio.sleep(random.uniform(0, RETRY_DELAY * 2**attempt))  # noqa: S311 - no secret
        return await work(*args, **kwargs)

    return repeated
