"""Each query that locks several OBProxy servers locks them by host and port, so that two of them cannot deadlock."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from service.tasks.resources import Resources
from tests.integration.named_queries import change, insert_server, rows, wait_for_lock, write

DEADLINE = 30.0  # seconds
PLACES = [(2, 2883), (1, 2884), (1, 2883)]  # host and port; the last one is to be locked first
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
UPSERT: dict[str, Any] = {
    **{"cluster_id": 1, "cluster_name": "test", "host_names": ["a", "b", "c"], "ips": ["x", "y", "z"]},
    **{"host_ids": [host for host, _ in PLACES], "sql_ports": [port for _, port in PLACES]},
}


@pytest.mark.parametrize(
    ("query", "values", "status"),
    [
        ("lock_servers", {}, "RUNNING"),
        ("upsert_servers", UPSERT, "TAKINGOVER"),
        ("mark_servers_answering", {"min_age": 60}, "RUNNING"),
        ("mark_servers_unavailable", {"before": MOMENT}, "RUNNING"),
        ("record_servers_answered", {}, "RUNNING"),
        ("request_discovery", {}, "RUNNING"),
        ("request_first_discovery", {}, "RUNNING"),
        ("claim_servers_for_discovery", {"interval": 60, "limit": 9, "limit_when_requested": 0}, "RUNNING"),
    ],
)
async def test_servers_are_locked_by_host_and_port(
    resources: Resources, query: str, values: dict[str, Any], status: str
) -> None:
    """While the first one is locked, the others are free. A query leaves a server alone that is DELETING by then."""
    ids = [await insert_server(resources, *place, status=status, create_time=MOMENT) for place in PLACES]
    if query == "mark_servers_unavailable":
        await change(resources, "INSERT INTO server_check (server_id, answered) SELECT id, true FROM obproxy_server")
    async with asyncio.timeout(DEADLINE), resources.database.autocommit() as other:
        async with resources.database.transaction() as holder:
            await holder.execute("SELECT FROM obproxy_server WHERE id = %s FOR UPDATE", (ids[2],))
            await holder.execute("UPDATE obproxy_server SET status = 'DELETING' WHERE id = %s", (ids[2],))
            waiting = asyncio.create_task(write(resources, query, server_ids=ids, **values))
            await wait_for_lock(other, waiting)
            free = await other.execute("SELECT id FROM obproxy_server ORDER BY id FOR UPDATE SKIP LOCKED")
            assert [row["id"] for row in await free.fetchall()] == ids[:2]
        await waiting
    assert (await rows(resources, "obproxy_server"))[2]["status"] == "DELETING"
