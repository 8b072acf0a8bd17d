"""Server-sent events: what is written about task instances, to whoever keeps the connection open.

An event's id is the number of the row that it goes up to, so that a reader who comes back with it loses and repeats
nothing, in whatever process of the service it comes back to. Rows are read when the reader has taken the ones before:
somebody slow gets them later, in larger pieces, and holds nothing up.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import groupby

import psycopg
from psycopg.rows import DictRow
from sse_starlette import EventSourceResponse, JSONServerSentEvent

from service.store.database import Database, fetch
from service.store.database_errors import is_lost
from service.store.notifications import ANY_TASK, Notifications, Subscription
from service.tasks.errors import UnknownTask

LIFETIME = 900.0  # seconds until the reader has to come back, and to prove again who it is
KEEP_ALIVE = 15  # seconds between two comments that keep what lies between from closing the connection
SEND_PATIENCE = 30.0  # seconds in which the reader must take what is sent
FAREWELL = 5.0  # seconds for a stream to end by itself when the service does
RETRY = 1000  # milliseconds after which a reader comes back
PAGE = 500  # rows of a log read together
BREATH = 0.03  # seconds until one reader's next rows are looked for
LIST_BREATH = 0.25  # the same of the list, which is counted every time
PAUSE = 0.3  # seconds until the next try to reach the database

log = logging.getLogger(__name__)

Document = Callable[[], Awaitable[Mapping[str, object]]]


def answer(events: AsyncIterator[JSONServerSentEvent]) -> EventSourceResponse:
    """The response that sends `events` until they or the service end, or the reader does not take them."""
    return EventSourceResponse(events, ping=KEEP_ALIVE, send_timeout=SEND_PATIENCE, shutdown_grace_period=FAREWELL)


async def position(database: Database, task_id: int) -> int:
    """The number of what was written last about a task instance; raises UnknownTask."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "last_change_of_task", task_id=task_id)
    if not rows:
        raise UnknownTask(task_id=task_id)
    found: int = rows[0]["position"]
    return found


async def of_task(
    database: Database, notifications: Notifications, task_id: int, after: int, document: Document, *, greet: bool
) -> AsyncIterator[JSONServerSentEvent]:
    """What is written about a task instance behind `after`, in order; `greet` = its document first, as it is.

    `task` carries the document when that has changed, `log` lines that one run of one subtask has said.
    """
    until = time.monotonic() + LIFETIME
    # UnknownTask: the task instance was deleted; a client that reconnects gets the error.
    with notifications.subscribe(task_id) as subscription, suppress(UnknownTask):
        if greet:
            yield _event("task", after, await _patiently(document))
        while await _rings(subscription, until):
            async for subtask_id, run_time, last, lines in _pieces(database, subscription, task_id, after):
                if subtask_id is None:
                    yield _event("task", last, await _patiently(document))
                else:
                    yield _event("log", last, {"subtaskId": subtask_id, "runTime": run_time, "lines": lines})
                after = last
            await asyncio.sleep(BREATH)


async def of_list(database: Database, notifications: Notifications) -> AsyncIterator[JSONServerSentEvent]:
    """How many task instances are RUNNING and which have changed, whenever some have; without names: any may have."""
    until = time.monotonic() + LIFETIME
    with notifications.subscribe(ANY_TASK) as subscription:
        while await _rings(subscription, until):
            changed = subscription.take_changes()
            running = await _patiently(lambda: _running(database))
            names = {} if changed is ANY_TASK else {"changed": sorted(changed)}
            yield _event("tasks", None, {"running": running, **names})
            await asyncio.sleep(LIST_BREATH)


async def _rings(subscription: Subscription, until: float) -> bool:
    """Whether there is something to tell: else the stream is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(until - time.monotonic()):
            await subscription.wait()
            return not subscription.closed
    return False


async def _running(database: Database) -> int:
    async with database.autocommit() as connection:
        total: int = (await fetch(connection, "count_running_tasks"))[0]["total"]
    return total


async def _pieces(
    database: Database, subscription: Subscription, task_id: int, after: int
) -> AsyncIterator[tuple[int | None, int | None, int, list[str]]]:
    """Subtask, which run of it, number of the last row, and lines: of rows that follow each other and belong together.

    Without a subtask it is the document that has changed.
    """

    async def page() -> list[DictRow]:
        async with database.autocommit() as connection:
            return await fetch(connection, "changes_of_task_after", task_id=task_id, after=after, size=PAGE)

    full = True
    while full and not subscription.closed:
        rows = await _patiently(page)
        for (subtask_id, run_time), group in groupby(rows, key=lambda row: (row["subtask_id"], row["run_time"])):
            together = list(group)
            lines = [line for row in together if subtask_id is not None for line in row["content"].split("\n")]
            after = together[-1]["id"]
            yield subtask_id, run_time, after, lines
        full = len(rows) == PAGE


async def _patiently[Read](read: Callable[[], Awaitable[Read]]) -> Read:
    """What `read` gives, as soon as the database answers; at the end of the service the response is cut off."""
    while True:
        try:
            return await read()
        except psycopg.Error as error:
            if not is_lost(error):
                raise
            log.info("A stream waits for the database: %s", error, extra={"action": "stream_waits"})
            await asyncio.sleep(PAUSE)


def _event(name: str, number: int | None, data: Mapping[str, object]) -> JSONServerSentEvent:
    return JSONServerSentEvent(data, event=name, id=None if number is None else str(number), retry=RETRY)
