"""What an error of the database means: lost, contention between transactions, or not writable. And the retry of the
second.

psycopg has one class, OperationalError, for a lost connection, a deadlock, a full disk and a canceled query, so the
SQLSTATE decides.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import wraps

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg import errors

MAX_ATTEMPTS = 6  # of a transaction that meets a deadlock or a serialization failure
RETRY_DELAY = 0.05  # seconds, at most, before the second attempt; it doubles

CONTENTION = (errors.DeadlockDetected, errors.SerializationFailure)
FULL = (errors.DiskFull,)
READ_ONLY = (errors.ReadOnlySqlTransaction,)
SHUTDOWN = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow)
CONNECTION_EXCEPTION = "08"  # the class of SQLSTATE

READ_ONLY_MESSAGE = (
    "The database is read-only. If it is a standby, set TAKEOVER_DATABASE_URL to its primary server; otherwise set "
    "default_transaction_read_only to off for the database and its user."
)


def is_lost(error: BaseException | None) -> bool:
    """Return whether the connection to the database is lost, or none could be had."""
    match database_error(error):
        case psycopg.InterfaceError():
            return True
        case psycopg.OperationalError() as found:
            # Without a SQLSTATE the server has not answered: the client library or the pool has given up.
            state = found.sqlstate
            return state is None or state.startswith(CONNECTION_EXCEPTION) or isinstance(found, SHUTDOWN)
    return False


def is_contention(error: BaseException | None) -> bool:
    """Return whether a transaction was rolled back because of another one, so that it succeeds when repeated."""
    return isinstance(database_error(error), CONTENTION)


def is_read_only(error: BaseException | None) -> bool:
    """Return whether the database accepts no write because of a setting, or because it is a standby."""
    return isinstance(database_error(error), READ_ONLY)


def is_unwritable(error: BaseException | None) -> bool:
    """Return whether the database answers and cannot be written: it is read-only, or its disk is full."""
    return isinstance(database_error(error), (*READ_ONLY, *FULL))


def is_transient(error: BaseException | None) -> bool:
    """Return whether the same transaction can succeed later without a change of this service."""
    return is_lost(error) or is_contention(error) or is_unwritable(error)


def explain(error: BaseException | None) -> str | None:
    """Return why the database cannot be used and what to do; None for an error that says neither of this.

    A lost connection's own text is not repeated: libpq quotes parts of a password that it has misread.
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
    """Return psycopg's error, also where the queue has wrapped it."""
    found = error.__cause__ if isinstance(error, ConnectorException) else error
    return found if isinstance(found, psycopg.Error) else None


def retry_contention[**P, R](work: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Repeat a function that is one transaction when another transaction has made it roll back."""

    @wraps(work)
    async def repeated(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(MAX_ATTEMPTS - 1):
            try:
                return await work(*args, **kwargs)
            except (psycopg.Error, ConnectorException) as error:
                if not is_contention(error):
                    raise
            # At random, or two that have met meet again.
            await asyncio.sleep(random.uniform(0, RETRY_DELAY * 2**attempt))  # noqa: S311 - no secret
        return await work(*args, **kwargs)

    return repeated
