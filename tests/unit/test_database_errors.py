"""The sentence about a database error that ends a failed start."""

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from psycopg import errors

from service.store.database_errors import READ_ONLY_MESSAGE, explain


def wrapped(error: Exception) -> ConnectorException:
    outer = ConnectorException()
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.ReadOnlySqlTransaction("cannot execute INSERT"), READ_ONLY_MESSAGE),
        (wrapped(errors.ReadOnlySqlTransaction("cannot execute INSERT")), READ_ONLY_MESSAGE),
        (
            errors.DiskFull("could not extend file\nHINT: Check free disk space."),
            "The disk of the database is full; free space on it and try again: "
            "could not extend file HINT: Check free disk space.",
        ),
        (
            psycopg.OperationalError("connection failed: invalid port number: hidden-word"),
            "The database does not answer; check TAKEOVER_DATABASE_URL and the database server.",
        ),
    ],
    ids=["read-only", "by the queue", "full", "lost"],
)
def test_it_names_the_fix(error: Exception, sentence: str) -> None:
    assert explain(error) == sentence


@pytest.mark.parametrize("error", [errors.UniqueViolation(), errors.UndefinedTable(), ValueError("planted"), None])
def test_a_fault_of_the_service_has_none(error: Exception | None) -> None:
    assert explain(error) is None
