"""Server-sent events about task instances, requests and discoveries.

The id of an event is the number of the last row in it. A client that reconnects with this id, to any process of the
service, gets the rows behind it: none is lost or repeated. The next rows are read when the client has received the
previous ones (backpressure): a slow client gets larger events, and does not delay others.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import DictRow
from sse_starlette import EventSourceResponse, JSONServerSentEvent

from service.model.states import BEFORE_RUN, TaskState
from service.store.database import Database, fetch
from service.store.database_errors import is_lost
from service.store.notifications import ANY, Channel, Notifications, Subscription
from service.tasks.errors import UnknownRequest, UnknownTask

STREAM_LIFETIME = 900.0  # seconds; then the client reconnects and is authenticated again
KEEP_ALIVE_INTERVAL = 15  # seconds between two comments, which keep proxies from closing an idle connection
SEND_TIMEOUT = 30.0  # seconds in which the client must receive an event
SHUTDOWN_GRACE = 5.0  # seconds for a stream to end by itself when the service stops
RECONNECT_DELAY = 1000  # milliseconds until a client reconnects
ROW_LIMIT = 500  # rows of a log per query
TASK_EVENT_INTERVAL = 0.03  # seconds between two queries for the rows of one stream
HOSTS_EVENT_INTERVAL = 0.25  # seconds between two events of a request, or of discoveries
INTERVAL_PER_HOST = 0.001  # seconds; the page of a request with 1000 hosts has 300 kB
WAITING_INTERVAL = 1.0  # seconds between two reads of a task instance that waits for others
LIST_EVENT_INTERVAL = 0.25  # seconds between two events of the list, each of which counts all RUNNING
RETRY_DELAY = 0.3  # seconds until the next attempt to reach the database

log = logging.getLogger(__name__)

_readings: set[asyncio.Future[Any]] = set()
"""The reads that are running: asyncio itself keeps only weak references to tasks."""

Document = Callable[[], Awaitable[Mapping[str, object]]]
ChangedDocument = Callable[[Sequence[int] | None], Awaitable[Mapping[str, object]]]
"""Returns the document of a request or of discoveries, with the hosts that some ids belong to; None = all."""
HostVersions = Mapping[int, tuple[int, TaskState]]
"""The hosts of a request by the ids of their task instances: the number of the last change, and the state."""


def event_stream_response(events: AsyncIterator[JSONServerSentEvent]) -> EventSourceResponse:
    """Return a response that sends `events` until they or the service end, or the client stops receiving."""
    return EventSourceResponse(
        events, ping=KEEP_ALIVE_INTERVAL, send_timeout=SEND_TIMEOUT, shutdown_grace_period=SHUTDOWN_GRACE
    )


async def last_change(database: Database, task_id: int) -> int:
    """Return the number of the last change of a task instance or its log; raise UnknownTask."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "last_change_of_task", task_id=task_id)
    if not rows:
        raise UnknownTask(task_id=task_id)
    found: int = rows[0]["position"]
    return found


async def task_events(
    database: Database,
    notifications: Notifications,
    task_id: int,
    after: int,
    document: Document,
    *,
    send_current: bool,
) -> AsyncIterator[JSONServerSentEvent]:
    """Yield the changes of a task instance behind the number `after`, in order.

    An event `task` has the document, after a change of it; `log` has log lines of one run of one subtask. With
    `send_current` the first event is the current document.

    Other task instances change the ones that it waits for, without a number of its own. While it waits, its document is
    read at an interval. No number shows which of them a reconnecting client has seen, so it gets the document again.
    """
    until = time.monotonic() + STREAM_LIFETIME
    with (
        notifications.subscribe(task_id) as subscription,
        suppress(UnknownTask),
    ):  # removed meanwhile: a reconnecting client gets 404
        current = await _retry_while_unavailable(document)
        seen = None  # how the client knows that it waits
        if send_current:
            seen = _waiting(current)
            yield _event("task", after, current)
        while await _wait_for_change(subscription, until, WAITING_INTERVAL if _waiting(current) else None):
            async for subtask_id, run_time, last, lines in _changes(database, subscription, task_id, after):
                if subtask_id is None:
                    current = await _retry_while_unavailable(document)
                    seen = _waiting(current)
                    yield _event("task", last, current)
                else:
                    yield _event("log", last, {"subtaskId": subtask_id, "runTime": run_time, "lines": lines})
                after = last
            if _waiting(current):
                fresh = await _retry_while_unavailable(document)
                if _waiting(fresh) not in (None, seen):  # its start is a change with a number
                    current, seen = fresh, _waiting(fresh)
                    yield _event("task", after, current)
            await asyncio.sleep(TASK_EVENT_INTERVAL)


async def list_events(database: Database, notifications: Notifications) -> AsyncIterator[JSONServerSentEvent]:
    """Yield the number of RUNNING task instances and the changed ids, after each change.

    Without ids any task instance may have changed.
    """
    until = time.monotonic() + STREAM_LIFETIME
    with notifications.subscribe(ANY) as subscription:
        while await _wait_for_change(subscription, until):
            changed = subscription.take_changes()
            running = await _retry_while_unavailable(lambda: _running(database))
            names = {} if changed is ANY else {"changed": sorted(changed)}
            yield _event("tasks", None, {"running": running, **names})
            await asyncio.sleep(LIST_EVENT_INTERVAL)


async def request_events(
    notifications: Notifications, versions: Callable[[], Awaitable[HostVersions]], document: ChangedDocument
) -> AsyncIterator[JSONServerSentEvent]:
    """Yield the document of a request, with all hosts at first, then with those that have changed.

    Task instances of other requests can change the ones that a host waits for.
    """

    def concern(notified: Set[int], hosts: HostVersions) -> bool:
        return not notified.isdisjoint(hosts) or any(state in BEFORE_RUN for _, state in hosts.values())

    with notifications.subscribe(ANY) as subscription, suppress(UnknownRequest):
        async for event in _documents_of_changes("request", subscription, versions, document, concern):
            yield event


async def discovery_events(
    notifications: Notifications,
    versions: Callable[[], Awaitable[Mapping[int, object]]],
    document: ChangedDocument,
) -> AsyncIterator[JSONServerSentEvent]:
    """Yield the discoveries of all hosts at first, then those that were requested or have ended since."""
    with notifications.subscribe(ANY, Channel.DISCOVERIES) as subscription:
        async for event in _documents_of_changes("discoveries", subscription, versions, document, lambda *_: True):
            yield event


async def _documents_of_changes[Version](
    name: str,
    subscription: Subscription,
    read_versions: Callable[[], Awaitable[Mapping[int, Version]]],
    document: ChangedDocument,
    concern: Callable[[Set[int], Mapping[int, Version]], bool],
) -> AsyncIterator[JSONServerSentEvent]:
    """Yield a document of hosts, complete at first, then with the hosts that have changed.

    The events have no id: a client that reconnects gets all hosts again. A number cannot say what it has seen, since
    hosts change at the same time. `read_versions` returns a value for each id of the document, which differs after each
    change; `concern` returns whether the notified ids can have changed any of them.
    """
    until = time.monotonic() + STREAM_LIFETIME
    versions: Mapping[int, Version] | None = None
    while await _wait_for_change(subscription, until):
        notified = subscription.take_changes()
        if versions is None or notified is ANY or concern(notified, versions):
            seen, versions = versions, await _retry_while_unavailable(read_versions)
            if seen is None:
                yield _event(name, None, await _retry_while_unavailable(partial(document, None)))
            else:
                changed = [id for id, version in versions.items() if seen.get(id) != version]
                if changed or seen.keys() - versions.keys():  # a host that has left changes the totals
                    yield _event(name, None, await _retry_while_unavailable(partial(document, changed)))
        await asyncio.sleep(max(HOSTS_EVENT_INTERVAL, INTERVAL_PER_HOST * len(versions or ())))


async def _wait_for_change(subscription: Subscription, until: float, limit: float | None = None) -> bool:
    """Wait for a change, at most `limit` seconds; return False when the stream must end instead."""
    now = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(until - now if limit is None else min(limit, until - now)):
            await subscription.wait()
    return not subscription.closed and time.monotonic() < until


def _waiting(document: Mapping[str, object]) -> tuple[object, object] | None:
    """Return how a task instance waits, and for which others; None = it does not."""
    state = document["state"]
    return (state, document.get("waitsFor")) if state in BEFORE_RUN else None


async def _running(database: Database) -> int:
    async with database.autocommit() as connection:
        total: int = (await fetch(connection, "count_running_tasks"))[0]["total"]
    return total


async def _changes(
    database: Database, subscription: Subscription, task_id: int, after: int
) -> AsyncIterator[tuple[int | None, int | None, int, list[str]]]:
    """Yield groups of adjacent rows of one run: subtask id, number of the run, number of the last row, log lines.

    A group without a subtask id is a change of the document.
    """

    async def read_rows() -> list[DictRow]:
        async with database.autocommit() as connection:
            return await fetch(connection, "changes_of_task_after", task_id=task_id, after=after, size=ROW_LIMIT)

    full = True
    while full and not subscription.closed:
        rows = await _retry_while_unavailable(read_rows)
        for (subtask_id, run_time), group in groupby(rows, key=lambda row: (row["subtask_id"], row["run_time"])):
            grouped = list(group)
            lines = [line for row in grouped if subtask_id is not None for line in row["content"].split("\n")]
            after = grouped[-1]["id"]
            yield subtask_id, run_time, after, lines
        full = len(rows) == ROW_LIMIT


async def _retry_while_unavailable[Read](read: Callable[[], Awaitable[Read]]) -> Read:
    """Return the result of `read`; repeat it while the database is lost. The end of the service cancels it."""
    while True:
        try:
            return await _read_to_end(read)
        except psycopg.Error as error:
            if not is_lost(error):
                raise
            log.info("An event stream waits for the database: %s", error, extra={"action": "stream_waits"})
            await asyncio.sleep(RETRY_DELAY)


async def _read_to_end[Read](read: Callable[[], Awaitable[Read]]) -> Read:
    """Return the result of `read`, which goes on by itself when the stream ends.

    psycopg closes the connection of a query that is canceled repeatedly, as a stream is when its client leaves.
    """
    reading = asyncio.ensure_future(read())
    _readings.add(reading)
    reading.add_done_callback(_readings.discard)
    return await asyncio.shield(reading)


def _event(name: str, number: int | None, data: Mapping[str, object]) -> JSONServerSentEvent:
    return JSONServerSentEvent(data, event=name, id=None if number is None else str(number), retry=RECONNECT_DELAY)
