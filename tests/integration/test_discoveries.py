"""Discoveries of hosts: request, queue, result, list."""

import asyncio
from datetime import datetime
from typing import Any

import httpx
import psycopg
import pytest
from starlette.applications import Starlette

from service.fleet import discoveries
from service.model.errors import UnknownHost
from service.outcome.host_findings import HostFindings, Outcome
from service.store.database import execute, fetch
from service.store.queue import HOST_DISCOVERY_QUEUE
from service.tasks.resources import Resources
from service.worker import host_discovery, worker
from service.worker.job import JobPostponed
from tests.integration.http_helpers import assert_failure, assert_sorted
from tests.integration.test_http_metrics import value
from tests.integration.test_release import managed

DISCOVER, LIST = "/api/v2/obproxy/discover", "/api/v2/obproxy/discoveries"
DEADLINE = 60.0  # seconds
RULE = {"rule": "Exactly one.", "found": "2 of them.", "fix": "stop one."}
FOUND = {
    **dict.fromkeys(("package", "home", "owner", "start_mode", "managed_by", "managed_cluster")),
    **{"sql_port": 2883, "pid": 25, "version": "4.3.1.0-1", "supervisor": "systemd", "login": "denied"},
    **{"app_name": "a", "rules": []},
}
Body = dict[str, Any]


async def discover(client: httpx.AsyncClient, *host_ids: int) -> list[Body]:
    answer = await client.post(DISCOVER, json={"hostIds": list(host_ids)}) if host_ids else await client.post(DISCOVER)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Location"] == LIST
    return list(answer.json()["data"]["contents"])


async def listed(client: httpx.AsyncClient, query: str = "") -> list[Body]:
    answer = await client.get(f"{LIST}?size=100{query}")
    assert answer.status_code == 200, answer.text
    assert_sorted(answer.json()["data"])
    return list(answer.json()["data"]["contents"])


async def queued(resources: Resources) -> list[int]:
    async with resources.database.autocommit() as connection:
        cursor = await connection.execute(
            "SELECT args FROM procrastinate_jobs WHERE queue_name = %s AND status = 'todo' ORDER BY id",
            (HOST_DISCOVERY_QUEUE,),
        )
        return [row["args"]["host_id"] for row in await cursor.fetchall()]


def finding(monkeypatch: pytest.MonkeyPatch, found: HostFindings | BaseException) -> None:
    """Let discoveries find this, without a run."""

    async def stand_in(resources: Resources, host_id: int) -> HostFindings:
        if isinstance(found, BaseException):
            raise found
        return found

    monkeypatch.setattr(host_discovery, "_discover", stand_in)


async def test_a_request_is_pending_until_its_discovery_has_ended(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {each["state"] for each in await listed(client)} == {"NEVER"}

    first, second = await discover(client, 2, 1)
    assert [(each["hostId"], each["state"], each["requester"]) for each in (first, second)] == [
        (2, "PENDING", "admin"),
        (1, "PENDING", "admin"),
    ]
    assert "age" not in first and first["obproxies"] == []
    assert await queued(resources) == [2, 1]

    finding(monkeypatch, HostFindings(token=0, obproxies={2883: FOUND | {"rules": [RULE]}}))
    await host_discovery.perform(resources, 1)
    (found,) = await listed(client, "&hostId=1")
    assert (found["state"], found["age"] < 30, found["rules"]) == ("DISCOVERED", True, [])
    assert found["obproxies"] == [
        {
            **{"appName": "a", "login": "denied", "managed": False, "pid": 25, "rules": [RULE], "sqlPort": 2883},
            **{"supervisor": "systemd", "version": "4.3.1.0-1"},
        }
    ]

    assert (await discover(client, 1))[0]["obproxies"] == found["obproxies"], "the last result stays until the next"
    assert [each["state"] for each in await listed(client, "&hostId=1")] == ["PENDING"]


async def test_all_hosts_and_each_only_once_in_the_queue(client: httpx.AsyncClient, resources: Resources) -> None:
    everything = [each["hostId"] for each in await listed(client)]
    assert [each["hostId"] for each in await discover(client)] == sorted(everything) == await queued(resources)
    await asyncio.gather(*(discover(client) for _ in range(5)))
    assert await queued(resources) == sorted(everything)


async def test_more_hosts_than_a_request_may_have(
    app: Starlette, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources: Resources = app.state.resources
    limited = resources.settings.model_copy(update={"hosts_limit": 1})
    object.__setattr__(resources, "settings", limited)
    failure = assert_failure(await client.post(DISCOVER))
    assert "at most 1 hosts, not 3" in failure.error.message
    assert [each.field for each in failure.error.subErrors or ()] == ["hostIds"]


async def test_a_running_discovery_does_not_count_for_a_later_request(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(resources: Resources, host_id: int) -> HostFindings:
        await discover(client, host_id)  # while this one is running
        return HostFindings(token=0)

    await discover(client, 1)
    monkeypatch.setattr(host_discovery, "_discover", slow)
    await host_discovery.perform(resources, 1)
    assert [each["state"] for each in await listed(client, "&hostId=1")] == ["PENDING"]

    finding(monkeypatch, HostFindings(token=0))
    await host_discovery.perform(resources, 1)
    assert [each["state"] for each in await listed(client, "&hostId=1")] == ["DISCOVERED"]


async def test_a_host_has_one_discovery_at_a_time(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: asyncio.Queue[int] = asyncio.Queue()

    async def hang(resources: Resources, host_id: int) -> HostFindings:
        began.put_nowait(host_id)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(host_discovery, "_discover", hang)
    async with worker.running(resources), asyncio.timeout(DEADLINE):
        await discover(client, 1)
        assert await began.get() == 1
        await discover(client, 1)
        await discover(client, 2)  # queued after it
        assert await began.get() == 2
        assert await queued(resources) == [1]


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        (
            HostFindings(token=0, outcome=Outcome.UNREACHABLE, message="no route", rules=[RULE]),
            "UNREACHABLE",
            "no route",
        ),
        (TimeoutError(), "FAILED", "has not ended within 90 s"),
        (OSError("no memory"), "FAILED", "no memory"),
        (OSError("cannot read hosts-\udcff\0.yml"), "FAILED", "cannot read hosts-"),
        (UnknownHost(host_id=1), "FAILED", "Host 1 does not exist"),
        (ZeroDivisionError(), "FAILED", "The service failed: ZeroDivisionError."),
    ],
    ids=["unreachable", "timeout", "not started", "no text", "removed", "defect"],
)
async def test_a_host_that_cannot_be_discovered_says_why(
    client: httpx.AsyncClient,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
    found: HostFindings | BaseException,
    state: str,
    message: str,
) -> None:
    await discover(client, 1, 2)
    finding(monkeypatch, found)
    await host_discovery.perform(resources, 1)
    of = {each["hostId"]: each for each in await listed(client)}
    assert of[1]["state"] == state and message in of[1]["message"] and of[2]["state"] == "PENDING"


async def test_managed_servers_are_named(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server,) = await managed(client, resources, 1)
    await discover(client, 1)
    finding(monkeypatch, HostFindings(token=0, obproxies={2883: FOUND, 3883: FOUND | {"sql_port": 3883}}))
    await host_discovery.perform(resources, 1)
    ours, other = (await listed(client, "&hostId=1"))[0]["obproxies"]
    assert (ours["managed"], ours["obproxyServerId"], ours["clusterId"]) == (True, server, 1)
    assert other["managed"] is False and "clusterId" not in other


async def test_the_list_is_searched_sorted_and_paged(client: httpx.AsyncClient) -> None:
    names = [each["hostName"] for each in await listed(client, "&sort=name,desc")]
    assert names == sorted(names, reverse=True) and len(names) > 1
    assert [each["hostName"] for each in await listed(client, f"&keyword={names[0].upper()}")] == [names[0]]
    page = (await client.get(f"{LIST}?size=1&page=2&sort=name,desc")).json()["data"]
    assert [each["hostName"] for each in page["contents"]] == names[1:2]
    assert page["page"]["totalElements"] == len(names)


async def test_a_lost_database_postpones_the_discovery(
    resources: Resources, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await discover(client, 1)
    finding(monkeypatch, HostFindings(token=0))

    async def lost(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(host_discovery, "_record", lost)
    with pytest.raises(JobPostponed):
        await host_discovery.perform(resources, 1)


async def test_a_discovery_survives_the_death_of_its_worker(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    await discover(client, 1)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = NULL")
    finding(monkeypatch, HostFindings(token=0))
    async with worker.running(resources), asyncio.timeout(DEADLINE):
        while (await listed(client, "&hostId=1"))[0]["state"] == "PENDING":
            await asyncio.sleep(0.05)


async def test_a_stopping_worker_requeues_its_discovery(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def hang(resources: Resources, host_id: int) -> HostFindings:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    await discover(client, 1)
    monkeypatch.setattr(host_discovery, "_discover", hang)
    async with worker.running(resources):
        await asyncio.wait_for(began.wait(), DEADLINE)
        asked = asyncio.get_running_loop().time()
    stopped = asyncio.get_running_loop().time() - asked
    assert stopped < resources.settings.shutdown_grace, "a takeover could start while the worker waits"
    assert await queued(resources) == [1]

    finding(monkeypatch, HostFindings(token=0))
    async with worker.running(resources), asyncio.timeout(DEADLINE):
        while (await listed(client, "&hostId=1"))[0]["state"] == "PENDING":
            await asyncio.sleep(0.05)
    assert await queued(resources) == []


async def test_a_discovery_that_has_lost_its_job_is_queued_again(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed job, or a restore of the database."""
    await discover(client, 1, 2)
    finding(monkeypatch, HostFindings(token=0))
    await host_discovery.perform(resources, 2)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        await connection.execute("UPDATE procrastinate_jobs SET status = 'failed'")
    async with worker.running(resources), asyncio.timeout(DEADLINE):
        while (await listed(client, "&hostId=1"))[0]["state"] == "PENDING":
            await asyncio.sleep(0.05)
    assert await queued(resources) == []


async def test_a_discovery_ends_when_the_clock_of_the_database_was_set_back(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recovery queued it every 3 s until the clock had reached the time of the request."""
    await discover(client, 1)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE host_discovery SET request_time = now() + interval '1 hour'")
    for outcome in (Outcome.DISCOVERED, Outcome.UNREACHABLE):
        assert (await listed(client, "&hostId=1"))[0]["state"] == "PENDING"
        finding(monkeypatch, HostFindings(token=0, outcome=outcome))
        await host_discovery.perform(resources, 1)
        assert (await listed(client, "&hostId=1"))[0]["state"] == outcome
        await discover(client, 1)


async def test_a_queued_or_running_discovery_has_its_job(client: httpx.AsyncClient, resources: Resources) -> None:
    await discover(client, 1, 2)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE args ->> 'host_id' = '1'")
        assert await discoveries.recover(resources, connection) == []
    assert await queued(resources) == [2]


async def recovered(resources: Resources) -> list[int]:
    async with resources.database.transaction() as connection, asyncio.timeout(DEADLINE):
        return await discoveries.recover(resources, connection)


async def test_only_requested_discoveries_without_a_job_are_recovered(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding(monkeypatch, HostFindings(token=0))
    await discover(client, 1, 2, 3)
    await host_discovery.perform(resources, 1)
    await host_discovery.perform(resources, 2)
    await discover(client, 2)
    async with resources.database.transaction() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs")
        await connection.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('other', 'any', '{\"host_id\": 3}')"
        )
    assert await recovered(resources) == [2, 3]

    async with resources.database.transaction() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs WHERE args ->> 'host_id' = '2'")
    assert await recovered(resources) == [2], "the job of another host is not its own"


async def test_a_discovery_that_is_being_requested_is_not_recovered(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    await discover(client, 1, 2)
    async with resources.database.transaction() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs")
    async with resources.database.transaction() as connection:
        await execute(connection, "request_host_discoveries", host_ids=[1], requester="admin")
        assert await recovered(resources) == [2], "the request queues the other one"


async def test_a_job_of_another_queue_discovers_nothing(client: httpx.AsyncClient, resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('other', 'any', '{\"host_id\": 1}')"
        )
    await discover(client, 1)
    assert await queued(resources) == [1]


async def test_pending_and_changed_discoveries_are_those_of_the_last_request(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pending(*host_ids: int) -> int:
        hosts = (await resources.inventory.current()).hosts
        return await discoveries.count_pending(resources, [hosts[host_id] for host_id in host_ids])

    async def now() -> datetime:
        async with resources.database.autocommit() as connection:
            moment: datetime = (await fetch(connection, "database_time"))[0]["moment"]
        return moment

    finding(monkeypatch, HostFindings(token=0))
    moments = [await now()]
    await discover(client, 1, 2)
    assert (await pending(1, 2, 3), await pending(2), await pending(3)) == (2, 1, 0)
    moments.append(await now())
    await host_discovery.perform(resources, 1)
    assert (await pending(1, 2), await pending(1)) == (1, 0)
    assert await discoveries.changed_since(resources, moments[1]) == [1], "it has ended since"
    moments.append(await now())
    await discover(client, 1)
    assert await pending(1) == 1
    moments.append(await now())
    changed = [sorted(await discoveries.changed_since(resources, moment)) for moment in moments]
    assert changed == [[1, 2], [1], [1], []]
    assert await discoveries.versions(resources, [(await resources.inventory.current()).hosts[3]]) == {3: None}


async def test_a_result_does_not_replace_that_of_a_later_discovery(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [Outcome.DISCOVERED, Outcome.UNREACHABLE]

    async def overtaken(resources: Resources, host_id: int) -> HostFindings:
        outcome = outcomes.pop()
        if outcomes:
            await host_discovery.perform(resources, host_id)
        return HostFindings(token=0, outcome=outcome)

    monkeypatch.setattr(host_discovery, "_discover", overtaken)
    await discover(client, 1)
    await host_discovery.perform(resources, 1)
    assert [each["state"] for each in await listed(client, "&hostId=1")] == ["DISCOVERED"]


async def test_the_start_of_a_discovery_follows_the_requests_of_its_host_only(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the clock of the database was set back, one host has a request in the future."""
    await discover(client, 1, 2)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE host_discovery SET request_time = now() + interval '1 hour' WHERE host_id = 2")
    finding(monkeypatch, HostFindings(token=0))
    await host_discovery.perform(resources, 1)
    async with resources.database.autocommit() as connection:
        cursor = await connection.execute("SELECT start_time < now() AS past FROM host_discovery WHERE host_id = 1")
        assert await cursor.fetchall() == [{"past": True}]


async def test_a_result_that_cannot_be_recorded_is_a_failure(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    await discover(client, 1)
    finding(monkeypatch, HostFindings(token=0, obproxies={2883: FOUND | {"app_name": "no text: \0"}}))
    await host_discovery.perform(resources, 1)
    (found,) = await listed(client, "&hostId=1")
    assert found["state"] == "FAILED" and found["message"].startswith("The service failed: ")


async def test_metrics_count_pending_and_ended_discoveries(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = {"outcome": "UNREACHABLE"}
    before = await value(client, "takeover_host_discoveries_total", **ended) or 0
    pending = [await value(client, "takeover_host_discoveries_pending")]
    await discover(client, 1, 2)
    pending.append(await value(client, "takeover_host_discoveries_pending"))
    finding(monkeypatch, HostFindings(token=0, outcome=Outcome.UNREACHABLE))
    await host_discovery.perform(resources, 1)
    pending.append(await value(client, "takeover_host_discoveries_pending"))

    assert pending == [0, 2, 1]
    assert await value(client, "takeover_host_discoveries_total", **ended) == before + 1
