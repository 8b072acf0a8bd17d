"""Event streams over real sockets: each event is sent once and in order.

This holds when the reader, the service or the database disconnects.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from uuid import uuid4

import httpx
import psycopg
import pytest
from httpx_sse import ServerSentEvent

from service.api import event_streams
from service.api import events as api_events
from service.api.discoveries import DISCOVERIES
from service.fleet import discoveries
from service.model.settings import Settings
from service.model.tasks import Subtask
from service.outcome.host_findings import HostFindings
from service.outcome.run_progress import Ended, Logged, Started, Verdict
from service.store.database import execute
from service.tasks import instances
from service.tasks.operations import skip_subtask
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from service.worker import host_discovery
from tests.integration.event_stream_client import DEADLINE, LIST_EVENTS, TASK_EVENTS, Reader, events, first
from tests.integration.http_helpers import assert_failure
from tests.integration.running_service import serving
from tests.integration.users import ADMIN

DISCOVERY_EVENTS = f"{DISCOVERIES}/events"
LINES = 100_000
WRITES_PER_LAG = 3  # writes that may be recorded in the time from a commit to the reader


@pytest.fixture
def urls(settings: Settings) -> Iterator[list[str]]:
    """Two processes' worth of the service on one database."""
    with serving(settings) as one, serving(settings) as other:
        yield [one, other]


@pytest.fixture
async def https(urls: list[str], settings: Settings) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Yield an HTTP client of each service, authenticated as the administrator."""
    password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, auth=("admin", password), timeout=DEADLINE))
            for url in urls
        ]


async def submit(resources: Resources, host_id: int = 1) -> tuple[int, list[Subtask]]:
    """Take a host over: the id of its task instance and its subtasks."""
    submitted = await take_over(
        resources, 1, [HostRequest(host_id=host_id, sql_port=2883)], creator=ADMIN, trace_id="t"
    )
    return submitted[0][0].id, list(submitted[0][1])


def recorder(resources: Resources, task_id: int) -> Recorder:
    return Recorder(replace(resources, executor="192.0.2.1"), task_id)


async def test_sends_the_document_and_then_changes(https: list[httpx.AsyncClient], resources: Resources) -> None:
    task_id, (subtask, *_) = await submit(resources)
    await recorder(resources, task_id).record([Started(role=subtask.role), Logged(role=subtask.role, text="before")])

    async with asyncio.timeout(DEADLINE), aclosing(events(https[0], TASK_EVENTS.format(task_id))) as stream:
        greeting = await anext(stream)
        assert greeting.event == "task"
        answer = await https[0].get(f"/api/v2/tasks/instances/{task_id}")
        assert json.loads(greeting.data) == answer.json()["data"]

        await recorder(resources, task_id).record([Logged(role=subtask.role, text="one\ntwo")])
        said = await anext(stream)
        assert (said.event, json.loads(said.data)) == (
            "log",
            {"subtaskId": subtask.id, "runTime": 1, "lines": ["one", "two"]},
        )
        ended = Ended(role=subtask.role, verdict=Verdict.FAILED, code="TASK_FAILED", message="it broke")
        await recorder(resources, task_id).record([ended])
        said, changed = await anext(stream), await anext(stream)
        assert json.loads(said.data)["lines"][0] == "TASK_FAILED: it broke"
        assert json.loads(changed.data)["status"] == "FAILED"

        await skip_subtask(resources, task_id, subtask.id)
        assert json.loads((await anext(stream)).data)["subtasks"][0]["operation"] == "SKIP"
        assert int(greeting.id) < int(said.id) < int(changed.id)


async def test_the_whole_log_from_its_beginning_or_from_where_the_log_endpoint_was(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    task_id, (subtask, *_) = await submit(resources)
    await recorder(resources, task_id).record([Started(role=subtask.role), Logged(role=subtask.role, text="one")])
    path = TASK_EVENTS.format(task_id)

    beginning = await first(https[0], path, 2, after=0)
    assert [event.event for event in beginning] == ["log", "task"]
    log = await https[0].get(f"/api/v2/tasks/instances/{task_id}/subtasks/{subtask.id}/log", params={"after": 0})
    assert "\n".join(json.loads(beginning[0].data)["lines"]) == log.json()["data"]["log"]
    (behind,) = await first(https[0], path, 1, after=log.json()["data"]["next"])
    assert (behind.event, behind.id) == ("task", beginning[1].id)


async def test_a_log_that_is_long_comes_in_pages(https: list[httpx.AsyncClient], resources: Resources) -> None:
    task_id, (subtask, *_) = await submit(resources)
    async with resources.database.transaction() as connection:
        values = {"subtask_ids": [subtask.id] * LINES, "run_times": [1] * LINES}
        await execute(
            connection, "insert_subtask_logs", **values, contents=[f"line {number}" for number in range(LINES)]
        )
        await execute(connection, "notify_task_changes", task_ids=[task_id], changed=True)

    reader = Reader()
    largest = 0
    async with (
        asyncio.timeout(DEADLINE),
        aclosing(events(https[0], TASK_EVENTS.format(task_id), query={"after": 0})) as stream,
    ):
        async for event in stream:
            reader.take(event)
            largest = max(largest, len(event.data))
            if len(reader.lines.get(subtask.id, ())) == LINES and event.event == "task":
                break

    assert reader.lines[subtask.id] == [f"line {number}" for number in range(LINES)]
    assert largest < 100_000


async def test_a_reconnecting_reader_loses_and_repeats_nothing(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    """Disconnect a reader repeatedly, at random; it reconnects to either process, under load."""
    task_id, subtasks = await submit(resources)
    async with resources.database.transaction() as connection:  # a waiting one is sent again after each reconnect
        await execute(connection, "insert_run", ident=str(uuid4()), task_id=task_id, executor=resources.executor)
    dice = random.Random(20261123)
    writing = asyncio.create_task(run_all(resources, task_id, subtasks))
    reader = Reader()
    connections = 0
    async with asyncio.timeout(DEADLINE * 2):
        while reader.document.get("status") != "SUCCESSFUL":
            connections += 1
            last = str(reader.ids[-1]) if reader.ids else "0"
            few = dice.randrange(1, 12)
            with suppress(httpx.HTTPError):
                async with aclosing(events(dice.choice(https), TASK_EVENTS.format(task_id), last)) as stream:
                    async for event in stream:
                        reader.take(event)
                        few -= 1
                        if few == 0 or reader.document.get("status") == "SUCCESSFUL":
                            break
    await writing

    assert connections > 10
    assert reader.ids == sorted(set(reader.ids))
    for subtask in subtasks:
        text, _ = await instances.log(resources.database, task_id, subtask.id)
        assert reader.lines[subtask.id] == text.split("\n")


async def run_all(resources: Resources, task_id: int, subtasks: list[Subtask]) -> None:
    """Write what a talkative run would."""
    writer = recorder(resources, task_id)
    for subtask in subtasks:
        await writer.record([Started(role=subtask.role)])
        for number in range(25):
            await writer.record([Logged(role=subtask.role, text=f"{subtask.role} says\n{number}")])
        await writer.record([Ended(role=subtask.role, verdict=Verdict.SUCCESSFUL, code="", message="")])


async def test_the_way_from_the_commit_to_the_reader_is_short(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    task_id, (subtask, *_) = await submit(resources)
    writer = recorder(resources, task_id)
    await writer.record([Started(role=subtask.role)])
    writes: list[float] = []
    lags: list[float] = []
    async with asyncio.timeout(DEADLINE * 2), aclosing(events(https[0], TASK_EVENTS.format(task_id))) as stream:
        await anext(stream)
        for number in range(200):
            began = time.perf_counter()
            await writer.record([Logged(role=subtask.role, text=str(number))])
            committed = time.perf_counter()
            event = await anext(stream)
            writes.append(committed - began)
            lags.append(time.perf_counter() - committed)
            assert json.loads(event.data)["lines"] == [str(number)]

    # A busy machine delays a write as it delays a reader. A stream that polled would take ten times as long.
    assert median(lags) <= event_streams.TASK_EVENT_INTERVAL + WRITES_PER_LAG * median(writes), (
        sorted(lags),
        sorted(writes),
    )


async def test_continues_after_the_database_was_unreachable(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    task_id, (subtask, *_) = await submit(resources)
    async with asyncio.timeout(DEADLINE), aclosing(events(https[0], TASK_EVENTS.format(task_id))) as stream:
        await anext(stream)
        async with await psycopg.AsyncConnection.connect(resources.database.url, autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        while True:  # its own connections are gone as well
            with suppress(psycopg.OperationalError):
                await recorder(resources, task_id).record([Started(role=subtask.role)])
                break
        said = [json.loads((await anext(stream)).data) for _ in range(2)]

    assert said[1]["subtasks"][0]["status"] == "RUNNING"


async def test_ends_with_the_service(settings: Settings, resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "SHUTDOWN_GRACE", 2 * DEADLINE)  # it is not cut off before the test fails
    task_id, _ = await submit(resources)
    with serving(settings) as url:
        password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
        http = httpx.AsyncClient(base_url=url, auth=("admin", password), timeout=DEADLINE)
        streams_open = [events(http, TASK_EVENTS.format(task_id)), events(http, LIST_EVENTS)]
        async with asyncio.timeout(DEADLINE):
            for stream in streams_open:
                await anext(stream)
        rest = asyncio.gather(*(collect(stream) for stream in streams_open))
        await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        assert await rest == [[], []]
    await http.aclose()


async def collect(stream: AsyncIterator[ServerSentEvent]) -> list[ServerSentEvent]:
    return [event async for event in stream]


async def test_a_reader_that_does_not_read_is_disconnected_and_delays_no_other(
    https: list[httpx.AsyncClient], resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "SEND_TIMEOUT", 1.0)
    task_id, (subtask, *_) = await submit(resources)
    writer = recorder(resources, task_id)
    await writer.record([Started(role=subtask.role)])
    reading, writing = await asyncio.open_connection("127.0.0.1", https[0].base_url.port, limit=1024)
    login = (await https[0].head(TASK_EVENTS.format(task_id))).request.headers["authorization"]
    head = f"GET {TASK_EVENTS.format(task_id)} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n\r\n"
    writing.write(head.encode())
    await writing.drain()
    await reading.readline()

    async with asyncio.timeout(DEADLINE), aclosing(events(https[0], TASK_EVENTS.format(task_id))) as stream:
        await anext(stream)
        for number in range(40):
            await writer.record([Logged(role=subtask.role, text=f"{number}" + "x" * 500_000)])
            assert json.loads((await anext(stream)).data)["lines"][0].startswith(str(number))
        with suppress(ConnectionError):
            while await reading.read(2**20):
                await asyncio.sleep(0)
    writing.close()


async def test_the_list_stream_names_changed_tasks(https: list[httpx.AsyncClient], resources: Resources) -> None:
    async with asyncio.timeout(DEADLINE), aclosing(events(https[1], LIST_EVENTS)) as stream:
        assert json.loads((await anext(stream)).data) == {"running": 0}
        one, _ = await submit(resources, 1)
        assert json.loads((await anext(stream)).data) == {"running": 1, "changed": [one]}
        two, subtasks = await submit(resources, 2)
        changed: set[int] = set()
        await run_all(resources, two, subtasks)
        while True:
            told = json.loads((await anext(stream)).data)
            changed |= set(told["changed"])
            if told["running"] == 1:
                break

    assert changed == {two}


async def test_a_notification_of_another_program_ends_no_stream(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    async with asyncio.timeout(DEADLINE), aclosing(events(https[0], LIST_EVENTS)) as stream:
        await anext(stream)
        async with resources.database.autocommit() as connection:
            await connection.execute("NOTIFY host_discovery")
            await connection.execute("NOTIFY takeover_task, 'no id'")
        task_id, _ = await submit(resources)

        assert json.loads((await anext(stream)).data)["changed"] == [task_id]


async def test_errors_are_sent_before_a_stream_begins(
    https: list[httpx.AsyncClient], resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id, _ = await submit(resources)
    path = TASK_EVENTS.format(task_id)
    for asked, headers, status, names in (
        (TASK_EVENTS.format(404), {}, 404, "Task instance 404"),
        (path + "?after=-1", {}, 400, "after"),
        (path, {"Last-Event-ID": "x"}, 400, "Last-Event-ID"),
    ):
        answer = await https[0].get(asked, headers=headers)
        assert answer.status_code == status
        assert names in assert_failure(answer).error.message
    monkeypatch.setattr(api_events, "STREAM_LIMIT", 0)
    assert (await https[0].get(path)).status_code == 503


async def test_sends_headers_for_proxies_and_browsers(https: list[httpx.AsyncClient], resources: Resources) -> None:
    task_id, _ = await submit(resources)
    answer = await https[0].head(TASK_EVENTS.format(task_id))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "gzip" in answer.request.headers["accept-encoding"] and "content-encoding" not in answer.headers
    (greeting,) = await first(https[0], TASK_EVENTS.format(task_id), 1)
    assert greeting.retry == event_streams.RECONNECT_DELAY


async def test_a_stream_ends_regularly_so_that_its_reader_authenticates_again(
    https: list[httpx.AsyncClient], resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "STREAM_LIFETIME", 0.3)
    task_id, _ = await submit(resources)
    async with asyncio.timeout(DEADLINE):
        assert len(await collect(events(https[0], TASK_EVENTS.format(task_id)))) == 1
        assert len(await collect(events(https[0], LIST_EVENTS))) == 1


async def test_a_task_instance_that_is_removed_ends_its_stream(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    task_id, _ = await submit(resources)
    async with asyncio.timeout(DEADLINE), aclosing(events(https[0], TASK_EVENTS.format(task_id))) as stream:
        greeting = await anext(stream)
        async with resources.database.transaction() as connection:
            await execute(connection, "notify_task_changes", task_ids=[task_id], changed=True)
            await connection.execute("ALTER TABLE task_change DROP CONSTRAINT task_change_task_instance_id_fkey")
            await connection.execute("DELETE FROM task_instance WHERE id = %s", (task_id,))
        assert await collect(stream) == []
    answer = await https[0].get(TASK_EVENTS.format(task_id), headers={"Last-Event-ID": greeting.id})
    assert answer.status_code == 404


async def test_a_request_stream_sends_all_hosts_and_then_changed_ones(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    hosts = [HostRequest(host_id=host_id, sql_port=2883) for host_id in (1, 2)]
    submitted = await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")
    (_, subtasks), (second, _) = submitted
    other, (role, *_) = await submit(resources, 3)
    path = f"/api/v2/obproxy/requests/{second.request_id}"

    async with asyncio.timeout(DEADLINE), aclosing(events(https[1], f"{path}/events")) as stream:
        whole = await anext(stream)
        assert (whole.event, whole.id) == ("request", "")
        document = (await https[1].get(path)).json()["data"]
        assert json.loads(whole.data)["hosts"] == document["hosts"] and len(document["hosts"]) == 2
        await recorder(resources, other).record([Started(role=role.role)])
        await recorder(resources, second.id).record([Logged(role=role.role, text="no change of the document")])
        await recorder(resources, second.id).record([Started(role=role.role)])
        changed = json.loads((await anext(stream)).data)

    assert [(host["hostId"], host["subtask"]) for host in changed["hosts"]] == [(2, subtasks[0].name)]
    assert changed["counts"] == document["counts"] and changed["hostCount"] == 2


async def start_run(resources: Resources, task_id: int, blocked: int) -> None:
    """Let a task instance have a run, which keeps the job of another one waiting: as of the same host."""
    async with resources.database.transaction() as connection:
        await execute(connection, "insert_run", ident=str(uuid4()), task_id=task_id, executor=resources.executor)
        for job, status in ((task_id, "doing"), (blocked, "todo")):
            await connection.execute(
                "UPDATE procrastinate_jobs SET lock = 'one host', status = %s WHERE args ->> 'task_instance_id' = %s",
                (status, str(job)),
            )
        await execute(connection, "notify_task_changes", task_ids=[task_id], changed=True)


async def test_a_stream_shows_that_a_task_instance_begins_to_wait_for_another_one(
    https: list[httpx.AsyncClient], resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "WAITING_INTERVAL", 0.1)
    (blocker, _), (blocked, _) = await submit(resources, 1), await submit(resources, 2)

    async with asyncio.timeout(DEADLINE), aclosing(events(https[0], TASK_EVENTS.format(blocked))) as stream:
        queued = await anext(stream)
        assert json.loads(queued.data)["state"] == "QUEUED"
        await start_run(resources, blocker, blocked)
        waiting = await anext(stream)

    shown = json.loads(waiting.data)
    assert (waiting.event, waiting.id) == ("task", queued.id)
    assert (shown["state"], shown["waitsFor"]) == ("WAITING_FOR_HOST", [blocker])
    assert shown == (await https[0].get(f"/api/v2/tasks/instances/{blocked}")).json()["data"]


async def test_a_reconnecting_reader_gets_at_once_how_a_task_instance_waits(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    (blocker, _), (blocked, _) = await submit(resources, 1), await submit(resources, 2)
    path = TASK_EVENTS.format(blocked)
    async with asyncio.timeout(DEADLINE):
        async with aclosing(events(https[0], path)) as stream:
            queued = await anext(stream)
        await start_run(resources, blocker, blocked)
        async with aclosing(events(https[1], path, queued.id)) as stream:
            again = await anext(stream)
            await recorder(resources, blocked).record([Logged(role="finish", text="one")])
            log = await anext(stream)

    assert (again.event, again.id) == ("task", queued.id)
    shown = json.loads(again.data)
    assert (shown["state"], shown["waitsFor"]) == ("WAITING_FOR_HOST", [blocker])
    assert log.event == "log"  # the document is sent once


async def test_a_request_stream_shows_that_a_host_begins_to_wait_for_a_host_of_another_request(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    (blocker, _), (blocked, _) = await submit(resources, 1), await submit(resources, 2)
    request_id = (await https[0].get(f"/api/v2/tasks/instances/{blocked}")).json()["data"]["requestId"]

    stream = events(https[0], f"/api/v2/obproxy/requests/{request_id}/events")
    async with asyncio.timeout(DEADLINE), aclosing(stream):
        assert [host["state"] for host in json.loads((await anext(stream)).data)["hosts"]] == ["QUEUED"]
        await start_run(resources, blocker, blocked)
        changed = json.loads((await anext(stream)).data)

    assert [(host["taskId"], host["state"]) for host in changed["hosts"]] == [(blocked, "WAITING_FOR_HOST")]
    assert (changed["counts"]["QUEUED"], changed["counts"]["WAITING_FOR_HOST"]) == (0, 1)


async def test_the_stream_of_an_unknown_request_is_rejected(https: list[httpx.AsyncClient]) -> None:
    answer = await https[0].get("/api/v2/obproxy/requests/4711/events")

    assert (answer.status_code, assert_failure(answer).error.code) == (404, 4001)


async def test_a_stream_of_discoveries_sends_all_hosts_and_then_changed_ones(
    https: list[httpx.AsyncClient], resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_found(*_: object) -> HostFindings:
        return HostFindings(token=0)

    monkeypatch.setattr(host_discovery, "_discover", nothing_found)
    task_id, (role, *_) = await submit(resources, 3)
    received: list[tuple[int, dict[int, str]]] = []

    async with asyncio.timeout(DEADLINE), aclosing(events(https[1], DISCOVERY_EVENTS)) as stream:

        async def receive() -> None:
            event = await anext(stream)
            assert (event.event, event.id) == ("discoveries", "")
            data = json.loads(event.data)
            received.append((data["pending"], {host["hostId"]: host["state"] for host in data["contents"]}))

        await receive()
        await recorder(resources, task_id).record([Started(role=role.role)])
        await discoveries.request(resources, [1, 2], requester=ADMIN)
        await receive()
        await host_discovery.perform(resources, 2)
        await receive()
        listed = (await https[1].get(DISCOVERIES)).json()["data"]["contents"]

    assert received == [
        (0, {1: "NEVER", 2: "NEVER", 3: "NEVER"}),
        (2, {1: "PENDING", 2: "PENDING"}),
        (1, {2: "DISCOVERED"}),
    ]
    assert [host["state"] for host in listed] == ["PENDING", "DISCOVERED", "NEVER"]


async def test_a_stream_of_discoveries_covers_the_hosts_of_its_query(
    https: list[httpx.AsyncClient], resources: Resources
) -> None:
    for query, found in (({"hostId": 2}, [2]), ({"keyword": "odp-3"}, [3]), ({"keyword": "none"}, [])):
        async with asyncio.timeout(DEADLINE), aclosing(events(https[0], DISCOVERY_EVENTS, query=query)) as stream:
            assert [host["hostId"] for host in json.loads((await anext(stream)).data)["contents"]] == found
            await discoveries.request(resources, [1], requester=ADMIN)
            await discoveries.request(resources, found[:1], requester=ADMIN)
            if found:
                changed = json.loads((await anext(stream)).data)
                assert ([host["hostId"] for host in changed["contents"]], changed["pending"]) == (found, 1)


async def test_a_stream_of_discoveries_does_not_wait_for_a_host_that_left_the_inventory(
    https: list[httpx.AsyncClient], resources: Resources, inventory_file: Path
) -> None:
    await discoveries.request(resources, [1, 2], requester=ADMIN)
    async with asyncio.timeout(DEADLINE), aclosing(events(https[0], DISCOVERY_EVENTS)) as stream:
        assert json.loads((await anext(stream)).data)["pending"] == 2
        inventory_file.write_text("all: {hosts: {odp-1: {ocp_host_id: 1}}}")
        await host_discovery.perform(resources, 2)
        assert json.loads((await anext(stream)).data) == {"contents": [], "pending": 1}
