"""Who waits for word that a task instance has changed: one LISTEN for a whole process, handed on to all who wait.

Nothing but the word is handed on. What has changed stands in rows with numbers, and whoever is told reads them from the
last number it has seen; so a word that comes late, twice or for many changes at once loses and repeats nothing, and
somebody slow costs no memory.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Set
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import NoReturn

import psycopg
from psycopg.rows import dict_row

from service.store.database import Connection, execute

INTERVAL = 5.0  # seconds between two looks whether the connection is still one
PATIENCE = 5.0  # seconds for the database to answer such a look
PAUSE = 0.3  # seconds until the next try to reach it
MOST_NAMES = 1000  # task instances that one who waits is told by name; more are "any"

log = logging.getLogger(__name__)

ANY = None
"""Stands for a task instance where any of them may have changed."""


class Bell:
    """Rings for one who waits. It starts ringing: what has happened before it was hung up, nobody has told."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._changed: set[int] | None = ANY
        self.closed = False
        self._rung.set()

    def ring(self, task_id: int | None) -> None:
        """A task instance has changed, or ANY may have."""
        if task_id is ANY or (self._changed is not None and len(self._changed) >= MOST_NAMES):
            self._changed = ANY
        elif self._changed is not None:
            self._changed.add(task_id)
        self._rung.set()

    def close(self) -> None:
        """Nothing comes any more."""
        self.closed = True
        self._rung.set()

    async def wait(self) -> None:
        """Until it rings; it is silent afterwards, unless it is closed."""
        await self._rung.wait()
        if not self.closed:
            self._rung.clear()

    def take(self) -> Set[int] | None:
        """What has changed since this was asked the last time; ANY = anything may have."""
        changed, self._changed = self._changed, set()
        return changed


class News:
    """Everybody in this process who waits."""

    def __init__(self) -> None:
        self._bells: defaultdict[int | None, set[Bell]] = defaultdict(set)
        self.closed = False

    def __len__(self) -> int:
        return sum(len(bells) for bells in self._bells.values())

    @contextmanager
    def following(self, task_id: int | None) -> Iterator[Bell]:
        """A bell for one task instance, or for ANY."""
        bell = Bell()
        if self.closed:
            bell.close()
        self._bells[task_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[task_id].discard(bell)
            if not self._bells[task_id]:
                del self._bells[task_id]

    def tell(self, task_id: int | None) -> None:
        """A task instance has changed, or ANY may have."""
        told = {task_id, ANY} if task_id is not ANY else set(self._bells)
        for followed in told & self._bells.keys():
            for bell in self._bells[followed]:
                bell.ring(task_id)

    def close(self) -> None:
        """The process ends: let everybody go."""
        self.closed = True
        for bells in self._bells.values():
            for bell in bells:
                bell.close()


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[News]:
    """The news of the database at `url`; while that is away nobody is told anything, and everybody when it is back."""
    news = News()
    ear = asyncio.create_task(_listen(news, url), name="news")
    try:
        yield news
    finally:
        news.close()
        ear.cancel()
        with suppress(asyncio.CancelledError):
            await ear


async def _listen(news: News, url: str) -> NoReturn:
    while True:
        try:
            async with await Connection.connect(url, autocommit=True, row_factory=dict_row) as connection:
                await execute(connection, "listen_for_task_changes")
                news.tell(ANY)  # whatever was said until now, nobody has heard
                while True:
                    async for word in connection.notifies(timeout=INTERVAL):
                        news.tell(int(word.payload))
                    async with asyncio.timeout(PATIENCE):
                        await execute(connection, "ping")
        except (psycopg.Error, TimeoutError) as error:
            log.warning("The database tells nothing now: %s", error, extra={"action": "news_lost"})
        await asyncio.sleep(PAUSE)
