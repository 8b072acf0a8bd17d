"""`make mutants` on named queries: the PostgreSQL server of their tests."""

import os
from contextlib import nullcontext

import psycopg
import pytest

from scripts.mutants import sql
from service.store import embedded


def test_a_query_that_does_not_end_fails_its_test(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_POSTGRES", postgres)  # restored at the end
    monkeypatch.setattr(embedded, "running", lambda _: nullcontext(postgres))
    monkeypatch.setattr(sql, "STATEMENT_TIMEOUT", 0.1)

    with (
        sql.Queries().prepared(),
        psycopg.connect(os.environ["TEST_POSTGRES"]) as connection,
        pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"),
    ):
        connection.execute("SELECT pg_sleep(30)")
