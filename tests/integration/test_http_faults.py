"""Responses while the database is away, and to a fault in the code."""

import logging
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from starlette.applications import Starlette

from service.model.settings import Settings
from service.store import database
from tests.integration.http_helpers import away, take_over_body

TASKS = "/api/v2/tasks/instances"
TAKE_OVER = "/api/v2/obproxy/clusters/1/takeOver"
PATIENCE = 0.5  # seconds that the application waits for the database here


@pytest.fixture
async def client(app: Starlette, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the administrator. An exception of the application is raised: its server would log it again."""
    app.state.resources.database.pool.timeout = PATIENCE
    password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", auth=("admin", password)) as http:
        yield http


def logged_requests(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return level and action of the log lines about requests."""
    records = [r for r in caplog.records if r.name in ("service.http.error_handlers", "uvicorn.error")]
    return [(r.levelname, str(getattr(r, "action", ""))) for r in records]


async def test_a_lost_database_is_reported_until_it_returns(
    client: httpx.AsyncClient, app: Starlette, postgres: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.get(TASKS)).status_code == 200

    async with away(postgres, database_url):
        with caplog.at_level(logging.WARNING):
            read = await client.get(TASKS)
            asked = await client.post(TAKE_OVER, json=take_over_body(1), headers={"X-Trace-Id": "0123456789abcdef"})

    for answer in (read, asked):
        assert answer.status_code == 503
        assert answer.json()["error"] == {"code": 0, "message": "The database does not answer. Try again later."}
        assert (answer.json()["successful"], answer.json()["status"]) == (False, 503)
        assert int(answer.headers["Retry-After"]) > 0
        assert "X-Content-Type-Options" in answer.headers
    assert logged_requests(caplog) == [("WARNING", "database_lost")] * 2
    app.state.resources.database.pool.timeout = database.CONNECTION_TIMEOUT
    assert (await client.get(TASKS)).status_code == 200
    assert (await client.post(TAKE_OVER, json=take_over_body(1))).status_code == 200


async def test_connections_that_the_database_has_ended_are_not_used(
    client: httpx.AsyncClient, app: Starlette, postgres: str, database_url: str
) -> None:
    app.state.resources.database.pool.timeout = database.CONNECTION_TIMEOUT
    assert (await client.get(TASKS)).status_code == 200

    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
        query = "SELECT pg_terminate_backend(pid, 60000) AS ended FROM pg_stat_activity WHERE datname = %s"
        ended = await (await connection.execute(query, (name,))).fetchall()
        assert ended and all(ended)

    assert (await client.get(TASKS)).status_code == 200


async def test_a_database_lost_during_a_request_is_reported_alike(
    client: httpx.AsyncClient, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")

    monkeypatch.setattr("service.tasks.instances.page", lost)

    answer = await client.get(TASKS)

    assert answer.status_code == 503
    assert len(answer.json()["traceId"]) == 16
    assert "server closed" not in answer.text


async def test_a_fault_is_answered_and_logged_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("service.tasks.instances.page", broken)

    answer = await client.get(TASKS)

    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "Unexpected error: RuntimeError.")
    assert "X-Content-Type-Options" in answer.headers
    assert logged_requests(caplog) == [("ERROR", "request_failed")]
