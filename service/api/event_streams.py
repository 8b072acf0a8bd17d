"""Server-sent events about task instances and requests.

The id of an event is the number of the last row in it. A client that reconnects with this id, to any process of the
service, gets the rows behind it: none is lost or repeated. The next rows are read when the client has received the
previous ones (backpressure): a slow client gets larger events, and does not delay others.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby

import psycopg
from psycopg.rows import DictRow
from sse_starlette import EventSourceResponse, JSONServerSentEvent

from service.store.database import Database, fetch
from service.store.database_errors import is_lost
from service.store.notifications import ANY_TASK, Notifications, Subscription
from service.tasks.errors import UnknownRequest, UnknownTask

STREAM_LIFETIME = 900.0  # seconds; then the client reconnects and is authenticated again
KEEP_ALIVE_INTERVAL = 15  # seconds between two comments, which keep proxies from closing an idle connection
SEND_TIMEOUT = 30.0  # seconds in which the client must receive an event
SHUTDOWN_GRACE = 5.0  # seconds for a stream to end by itself when the service stops
RECONNECT_DELAY = 1000  # milliseconds until a client reconnects
ROW_LIMIT = 500  # rows of a log per query
TASK_EVENT_INTERVAL = 0.03  # seconds between two queries for the rows of one stream
REQUEST_EVENT_INTERVAL = 0.25  # seconds between two events of a request
INTERVAL_PER_HOST = 0.001  # seconds; the page of a request with 1000 hosts has 300 kB
LIST_EVENT_INTERVAL = 0.25  # seconds between two events of the list, each of which counts all RUNNING
RETRY_DELAY = 0.3  # seconds until the next attempt to reach the database

log = logging.getLogger(__name__)

Document = Callable[[], Awaitable[Mapping[str, object]]]
ChangedDocument = Callable[[Sequence[int] | None], Awaitable[Mapping[str, object]]]
"""Returns the document of a request with the hosts of some task instances; None = all."""


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
    """
    until = time.monotonic() + STREAM_LIFETIME
    with (
        notifications.subscribe(task_id) as subscription,
        suppress(UnknownTask),
    ):  # removed meanwhile: a reconnecting client gets 404
        if send_current:
            yield _event("task", after, await _retry_while_unavailable(document))
        while await _wait_for_change(subscription, until):
            async for subtask_id, run_time, last, lines in _changes(database, subscription, task_id, after):
                if subtask_id is None:
                    yield _event("task", last, await _retry_while_unavailable(document))
                else:
                    yield _event("log", last, {"subtaskId": subtask_id, "runTime": run_time, "lines": lines})
                after = last
            await asyncio.sleep(TASK_EVENT_INTERVAL)


async def list_events(database: Database, notifications: Notifications) -> AsyncIterator[JSONServerSentEvent]:
    """Yield the number of RUNNING task instances and the changed ids, after each change.

    Without ids any task instance may have changed.
    """
    until = time.monotonic() + STREAM_LIFETIME
    with notifications.subscribe(ANY_TASK) as subscription:
        while await _wait_for_change(subscription, until):
            changed = subscription.take_changes()
            running = await _retry_while_unavailable(lambda: _running(database))
            names = {} if changed is ANY_TASK else {"changed": sorted(changed)}
            yield _event("tasks", None, {"running": running, **names})
            await asyncio.sleep(LIST_EVENT_INTERVAL)


async def request_events(
    database: Database, notifications: Notifications, request_id: int, document: ChangedDocument
) -> AsyncIterator[JSONServerSentEvent]:
    """Yield the document of a request, with all hosts at first, then with those that have changed.

    The events have no id: a client that reconnects gets all hosts again. A number cannot say what it has seen, since
    task instances change at the same time.
    """
    until = time.monotonic() + STREAM_LIFETIME
    numbers: Mapping[int, int] = {}

    async def read_numbers() -> Mapping[int, int]:
        async with database.autocommit() as connection:
            rows = await fetch(connection, "change_numbers_of_request", request_id=request_id)
        return {row["id"]: row["number"] for row in rows}

    with notifications.subscribe(ANY_TASK) as subscription, suppress(UnknownRequest):
        while await _wait_for_change(subscription, until):
            notified = subscription.take_changes()
            if not numbers or notified is ANY_TASK or not notified.isdisjoint(numbers):
                seen, numbers = numbers, await _retry_while_unavailable(read_numbers)
                changed = [task_id for task_id, number in numbers.items() if seen.get(task_id) != number]
                if changed:
                    task_ids = changed if seen else None
                    yield _event("request", None, await _retry_while_unavailable(partial(document, task_ids)))
            await asyncio.sleep(max(REQUEST_EVENT_INTERVAL, INTERVAL_PER_HOST * len(numbers)))


async def _wait_for_change(subscription: Subscription, until: float) -> bool:
    """Wait for a change; return False when the stream must end instead."""
    with suppress(TimeoutError):
        async with asyncio.timeout(until - time.monotonic()):
            await subscription.wait()
            return not subscription.closed
    return False


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
            return await read()
        except psycopg.Error as error:
            if not is_lost(error):
                raise
            log.info("An event stream waits for the database: %s", error, extra={"action": "stream_waits"})
            await asyncio.sleep(RETRY_DELAY)


def _event(name: str, number: int | None, data: Mapping[str, object]) -> JSONServerSentEvent:
    return JSONServerSentEvent(data, event=name, id=None if number is None else str(number), retry=RECONNECT_DELAY)
