"""The audit: every call that changes something is recorded, reads are not, and old records are removed."""

import logging
from typing import Any

import httpx
import psycopg
import pytest
from starlette.applications import Starlette

from service.access import audit, users
from service.access.roles import Role
from tests.integration.http_helpers import assert_envelope, take_over, take_over_body

EVENTS = "/api/v2/audit/events"
TAKE_OVER = "/api/v2/obproxy/clusters/1/takeOver"
ROLLBACK = "/api/v2/tasks/instances/99/rollback"


async def events(client: httpx.AsyncClient, **query: str | int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = assert_envelope(await client.get(EVENTS, params=query))["data"]["contents"]
    return found


async def test_an_event_has_user_operation_address_and_outcome(client: httpx.AsyncClient) -> None:
    answer = await client.post(TAKE_OVER, json=take_over_body(1))

    [event] = await events(client)

    assert list(event) == sorted(event)
    assert (
        event.items()
        >= {
            "calls": 1,
            "client": "127.0.0.1",
            "method": "POST",
            "path": TAKE_OVER,
            "status": 200,
            "traceId": answer.json()["traceId"],
            "userName": "admin",
        }.items()
    )


async def test_rejected_calls_are_recorded(client: httpx.AsyncClient, app: Starlette) -> None:
    await users.add(app.state.resources.database, "anne", "password", [Role.TASK_VIEWER])
    anne = ("anne", "password")
    await take_over(client, 1)
    refused = [
        await client.post(TAKE_OVER, json=take_over_body(1)),
        await client.post(TAKE_OVER, content=b"x" * (1024 * 1024 + 1), headers={"Content-Type": "application/json"}),
        await client.post(ROLLBACK, auth=anne),
        await client.delete("/nowhere"),
        await client.put(EVENTS),
    ]

    kept = [(event["method"], event["status"], event["userName"]) for event in await events(client, size=5)]

    assert [answer.status_code for answer in refused] == [409, 413, 403, 404, 405]
    assert kept[::-1] == [
        ("POST", 409, "admin"),
        ("POST", 413, "admin"),
        ("POST", 403, "anne"),
        ("DELETE", 404, "admin"),
        ("PUT", 405, "admin"),
    ]
    assert [event["userName"] for event in await events(client, userName="anne")] == ["anne"]


async def test_unauthenticated_calls_are_one_row_per_address_and_minute(client: httpx.AsyncClient) -> None:
    for number in range(20):
        assert (await client.post(f"/{number}", auth=httpx.Auth())).status_code == 401

    kept = await events(client)

    assert sum(event["calls"] for event in kept) == 20
    assert len(kept) <= 2  # a minute may have ended meanwhile
    assert all("userName" not in event and event["status"] == 401 for event in kept)


async def test_reads_are_not_kept(client: httpx.AsyncClient) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        await client.request(method, "/api/v2/tasks/instances")

    assert await events(client) == []


async def test_a_fault_is_kept(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("service.http.requests.parse_body", broken)

    assert (await client.post(TAKE_OVER)).status_code == 500
    assert [event["status"] for event in await events(client)] == [500]


async def test_each_call_is_in_the_log_and_can_forge_nothing_there(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "service.access.audit"):
        await client.post("/x%0a2026 forged", headers={"X-Trace-Id": "0123456789abcdef"})

    [record] = caplog.records
    assert record.getMessage() == ("POST /x%0a2026%20forged by admin from 127.0.0.1: 404 (trace id 0123456789abcdef)")


async def test_an_end_that_cannot_be_recorded_does_not_change_the_answer(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise psycopg.OperationalError("planted")

    monkeypatch.setattr(audit, "record", fail)

    assert (await client.post(TAKE_OVER, json=take_over_body(1))).status_code == 200
    assert "Could not record the status of a call: planted" in caplog.text
    assert [(event["path"], event["status"]) for event in await events(client)] == [(TAKE_OVER, audit.UNANSWERED)]


async def test_without_a_record_nothing_is_done(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> int:
        raise psycopg.errors.DiskFull("planted")

    monkeypatch.setattr(audit, "begin", fail)

    answer = await client.post(TAKE_OVER, json=take_over_body(1))

    assert answer.status_code == 503
    assert "cannot be written: its disk is full" in answer.json()["error"]["message"]
    assert (await client.get("/api/v2/tasks/instances")).json()["data"]["contents"] == []


async def test_a_long_path_is_cut(client: httpx.AsyncClient) -> None:
    await client.post("/" + "x" * 10_000)

    assert [len(event["path"]) for event in await events(client)] == [audit.PATH_LIMIT]
