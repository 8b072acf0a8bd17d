"""Turns errors at the start into one sentence that names the setting and contains no password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg.conninfo import conninfo_to_dict

from service.model.errors import StartFailed
from service.model.settings import Settings
from service.store.database_errors import database_error, explain, is_unwritable

ADVICE = "Special characters in a user name or password must be percent-encoded."
_QUOTED = re.compile("[\"'].*[\"']", re.DOTALL)  # to the last quote: the value may contain quotes


@contextmanager
def explaining_start_errors(settings: Settings) -> Iterator[None]:
    """Turn an error of the database or the data directory into StartFailed."""
    try:
        yield
    except (psycopg.Error, ConnectorException) as error:
        if is_unwritable(error):
            raise StartFailed(reason=explain(error)) from None
        message = " ".join(str(database_error(error) or error).split())
        url = settings.database_url.get_secret_value()
        reason = without_password(message, url) if url else f"The embedded PostgreSQL: {message}"
        raise StartFailed(reason=reason) from None
    except OSError as error:
        where = error.filename or settings.data_dir
        raise StartFailed(reason=f"TAKEOVER_DATA_DIR: {where}: {error.strerror or error}") from None


def without_password(message: str, url: str) -> str:
    """Return libpq's error text about `url` without the password, of which libpq may quote parts."""
    try:
        read = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        problem = _QUOTED.sub("…", str(error).strip())
        return f"TAKEOVER_DATABASE_URL is not a connection string of PostgreSQL: {problem}. {ADVICE}"
    password = str(read.pop("password", ""))
    written = unquote(url.partition("://")[2].rpartition("@")[0].partition(":")[2])
    if written and written != password:
        return f"TAKEOVER_DATABASE_URL: {_QUOTED.sub('…', message)}. {ADVICE}"
    if password and password not in map(str, read.values()):
        message = message.replace(password, "…")
    return f"TAKEOVER_DATABASE_URL: {message}"
