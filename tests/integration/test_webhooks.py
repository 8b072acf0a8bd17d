"""Webhooks: the end of a task instance and of a request reaches a receiver, signed, and is sent again when rejected."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from pydantic import SecretStr
from standardwebhooks import Webhook

from service.model.settings import Settings
from service.model.states import state_of
from service.model.workflow import TAKEOVER
from service.store.queue import RUN
from service.tasks import documents, instances, operations, submit
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest
from service.tasks.webhook_events import REQUEST_ENDED, TASK_ENDED
from service.worker import webhooks, worker
from tests.integration.sample_tasks import advance
from tests.integration.users import ADMIN

DEADLINE = 30.0  # seconds until the webhooks must have arrived
PASSWORD = "Proxysys-given#1"
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


@dataclass
class Receiver:
    """Collects what is posted to it; it responds with the statuses `refusals` first, then with 204."""

    refusals: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    accepted: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)  # until then it does not respond

    def __post_init__(self) -> None:
        self.open.set()

    def respond(self, headers: dict[str, str], body: bytes) -> int:
        """Return the status of the response."""
        self.received.append((headers, body))
        self.open.wait(DEADLINE)
        if self.refusals:
            return self.refusals.pop(0)
        self.accepted.append((headers, body))
        return 204


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def receiver_url(receiver: Receiver) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.respond({k.lower(): v for k, v in self.headers.items()}, body))
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://key:hush@127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(settings: Settings, receiver_url: str) -> Settings:
    return settings.model_copy(update={"notify_url": SecretStr(receiver_url), "notify_secret": SecretStr(SECRET)})


async def submit_takeovers(resources: Resources, *host_ids: int) -> list[int]:
    """Submit the takeovers of hosts as one request; return the ids of the task instances."""
    hosts = [HostRequest(host_id=host_id, sql_port=2883, password=SecretStr(PASSWORD)) for host_id in host_ids]
    submitted = await submit.take_over(resources, 1, hosts, creator=ADMIN, trace_id="")
    return [task.id for task, _ in submitted]


async def succeed(resources: Resources, task_id: int) -> None:
    await advance(resources, task_id, resources.workflows[TAKEOVER].roles)


async def jobs(resources: Resources, task_name: str) -> list[dict[str, Any]]:
    async with resources.database.autocommit() as connection:
        query = b"SELECT args FROM procrastinate_jobs WHERE task_name = %s ORDER BY id"
        return [row["args"] for row in await (await connection.execute(query, (task_name,))).fetchall()]


async def delivered(resources: Resources, receiver: Receiver, number: int) -> None:
    """Run a worker until the receiver has accepted `number` webhooks."""
    deadline = time.monotonic() + DEADLINE
    async with worker.running(resources):
        while len(receiver.accepted) < number:
            assert time.monotonic() < deadline, receiver.received
            await asyncio.sleep(0.05)


def verified(headers: dict[str, str], body: bytes) -> Any:
    """Return the CloudEvent of a webhook with a valid signature."""
    Webhook(SECRET).verify(body, headers)
    return from_http_event(HTTPMessage(headers, body))


async def test_the_end_of_a_request_and_of_its_tasks_is_sent(resources: Resources, receiver: Receiver) -> None:
    first, second = await submit_takeovers(resources, 1, 2)
    await succeed(resources, first)
    await advance(resources, second, [], resources.workflows[TAKEOVER].roles[0], "Rule: r Found: f Fix: x")

    await delivered(resources, receiver, 3)

    events = [verified(*webhook) for webhook in receiver.accepted]
    tasks = {event.get_data()["id"]: event for event in events if event.get_type() == TASK_ENDED}
    (request,) = (event for event in events if event.get_type() == REQUEST_ENDED)
    async with resources.database.autocommit() as connection:
        for task, subtasks in await instances.by_ids(connection, [first, second]):
            assert tasks[task.id].get_data() == documents.basic(task, subtasks, state_of(task))
            assert tasks[task.id].get_subject() == f"tasks/instances/{task.id}"
    assert [tasks[task_id].get_data()["status"] for task_id in (first, second)] == ["SUCCESSFUL", "FAILED"]
    assert request.get_data()["status"] == "FAILED" and request.get_data()["hostCount"] == 2
    assert PASSWORD not in str(receiver.received)


async def test_a_request_with_a_running_task_is_not_announced(resources: Resources, receiver: Receiver) -> None:
    first, _ = await submit_takeovers(resources, 1, 2)
    await succeed(resources, first)

    await webhooks.announce_request_end(resources, 1)

    assert [job["event"]["type"] for job in await jobs(resources, "send_webhook")] == [TASK_ENDED]
    assert [job["request_id"] for job in await jobs(resources, "announce_request_end")] == [1]


async def test_the_end_of_a_request_is_announced_once(resources: Resources) -> None:
    (only,) = await submit_takeovers(resources, 1)
    await succeed(resources, only)

    await asyncio.gather(*(webhooks.announce_request_end(resources, 1) for _ in range(3)))

    types = [job["event"]["type"] for job in await jobs(resources, "send_webhook")]
    assert types == [TASK_ENDED, REQUEST_ENDED]


async def test_a_retried_request_is_announced_again(resources: Resources) -> None:
    roles = resources.workflows[TAKEOVER].roles
    (only,) = await submit_takeovers(resources, 1)
    await advance(resources, only, [], roles[0])
    await webhooks.announce_request_end(resources, 1)
    await operations.retry_task(resources, only)
    await webhooks.announce_request_end(resources, 1)

    await succeed(resources, only)
    await webhooks.announce_request_end(resources, 1)

    ends = [job["event"] for job in await jobs(resources, "send_webhook")]
    assert [(end["type"], end["data"]["status"]) for end in ends] == [
        *((TASK_ENDED, "FAILED"), (REQUEST_ENDED, "FAILED")),
        *((TASK_ENDED, "SUCCESSFUL"), (REQUEST_ENDED, "SUCCESSFUL")),
    ]


async def test_a_refused_webhook_is_sent_again_with_its_id(
    resources: Resources, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhooks, "RETRY_BASE", 1)
    receiver.refusals += [503, 302]
    (only,) = await submit_takeovers(resources, 1)
    await succeed(resources, only)

    await delivered(resources, receiver, 2)

    ids = [headers["webhook-id"] for headers, _ in receiver.received]
    assert len(ids) == 4 and len(set(ids)) == 2
    assert "the receiver responded with 503" in caplog.text
    assert "hush" not in caplog.text


async def test_a_receiver_that_hangs_delays_no_takeover(resources: Resources, receiver: Receiver) -> None:
    receiver.open.clear()
    slow = replace(resources, settings=resources.settings.model_copy(update={"worker_concurrency": 1}))
    (only,) = await submit_takeovers(resources, 1)
    await succeed(resources, only)

    deadline = time.monotonic() + DEADLINE
    async with worker.running(slow):
        while not receiver.received or await jobs(resources, RUN):
            assert time.monotonic() < deadline, "the job of the takeover still waits"
            await asyncio.sleep(0.05)
        assert not receiver.accepted
        receiver.open.set()


async def test_a_stopping_worker_waits_for_the_jobs_of_all_queues_at_the_same_time(
    resources: Resources, receiver: Receiver
) -> None:
    """One after the other, a queue would start jobs while the service waits for those of another."""
    receiver.open.clear()
    (only,) = await submit_takeovers(resources, 1)
    await succeed(resources, only)
    async with asyncio.timeout(DEADLINE), AsyncExitStack() as stack:
        await stack.enter_async_context(worker.running(resources))
        while not receiver.received:
            await asyncio.sleep(0.01)
        workers = {task.get_name(): task for task in asyncio.all_tasks() if task.get_name().endswith("worker")}
        assert set(workers) == {"discovery-worker", "webhook-worker", "worker"}

        stopping = asyncio.create_task(stack.aclose())
        while not all(task.cancelling() for task in workers.values()):
            await asyncio.sleep(0.01)

        assert not workers["webhook-worker"].done(), "it has ended before the others were stopped"
        receiver.open.set()
        await stopping


async def test_a_response_that_never_ends_is_cut_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

    monkeypatch.setattr(webhooks, "TIMEOUT", 0.5)
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(webhooks.DeliveryFailed, match="TimeoutError"):
            async with asyncio.timeout(DEADLINE):
                await webhooks.send(settings.model_copy(update={"notify_url": SecretStr(url)}), {"id": "1"})


async def test_without_a_url_nothing_is_put_on_the_queue(settings: Settings, resources: Resources) -> None:
    resources.queue.sends_webhooks = False
    (only,) = await submit_takeovers(resources, 1)
    await succeed(resources, only)

    assert await jobs(resources, "send_webhook") == await jobs(resources, "announce_request_end") == []


async def test_an_unreachable_receiver_is_reported_without_its_url(settings: Settings) -> None:
    unreachable = settings.model_copy(update={"notify_url": SecretStr("http://key:hush@127.0.0.1:1/")})

    with pytest.raises(webhooks.DeliveryFailed) as failed:
        await webhooks.send(unreachable, {"id": "1"})

    assert str(failed.value) == "ConnectError" and failed.value.__suppress_context__
