"""Shared by the tests over HTTP: the shape of every response, and the content of the database."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
from psycopg.sql import SQL, Identifier

from service.http.envelope_schema import Failure
from service.tasks.resources import Resources

TABLES = (
    "obproxy_server",
    "request",
    "task_instance",
    "subtask_instance",
    "subtask_dependency",
    "task_secret",
    "procrastinate_jobs",
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,2}[1-9])?(Z|[+-]\d\d:\d\d)")


def take_over_body(*host_ids: int, password: str | None = None) -> dict[str, Any]:
    """Return a takeOver request for `host_ids`."""
    given = {} if password is None else {"proxysysPasswd": password}
    return {"hosts": [{"hostId": host_id, "sqlPort": 2883, **given} for host_id in host_ids]}


async def take_over(client: httpx.AsyncClient, *host_ids: int, cluster_id: int = 1) -> list[dict[str, Any]]:
    """Take `host_ids` over; the task instances."""
    answer = await client.post(f"/api/v2/obproxy/clusters/{cluster_id}/takeOver", json=take_over_body(*host_ids))
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]["contents"]
    return found


def assert_envelope(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's JSON, which has OCP's envelope (docs/reference/ocp-api.md 4.1, 4.2)."""
    body: dict[str, Any] = answer.json()
    assert list(body) == sorted(body)
    assert {"duration", "server", "status", "successful", "timestamp", "traceId"} < set(body)
    assert body["status"] == answer.status_code
    assert body["successful"] is (answer.status_code < 400)
    assert TIME.fullmatch(body["timestamp"])
    assert re.fullmatch("[0-9a-f]{10}", body["server"])
    assert re.fullmatch("([0-9a-f]{16})?", body["traceId"])
    return body


def assert_failure(answer: httpx.Response) -> Failure:
    """Return the answer, which has the envelope and OCP's shape of an error."""
    assert_envelope(answer)
    return Failure.model_validate_json(answer.content)


def assert_sorted(value: Any) -> None:
    """Check that the properties of every object in `value` are in alphabetical order."""
    if isinstance(value, dict):
        assert list(value) == sorted(value), json.dumps(value)
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            assert_sorted(inner)


async def count_rows(resources: Resources) -> dict[str, int]:
    """Return the number of rows of each table that a takeover writes to."""
    counts = {}
    async with resources.database.transaction() as connection:
        for table in TABLES:
            cursor = await connection.execute(SQL("SELECT count(*) AS n FROM {}").format(Identifier(table)))
            row = await cursor.fetchone()
            assert row
            counts[table] = row["n"]
    return counts


@asynccontextmanager
async def away(postgres: str, database_url: str) -> AsyncIterator[None]:
    """Make the database unavailable: it terminates its connections and accepts none."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    allow = SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        await connection.execute(allow.format(Identifier(str(name)), SQL("false")))
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        yield
        await connection.execute(allow.format(Identifier(str(name)), SQL("true")))
