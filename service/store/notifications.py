"""Fans out PostgreSQL notifications about task instances to the subscribers of this process, over one LISTEN.

A notification carries only the id of a task instance. Changes are rows with numbers; a subscriber reads those after the
last number it has seen. Late, repeated or merged notifications therefore lose and repeat nothing, and a slow subscriber
costs no memory.
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

CHECK_INTERVAL = 5.0  # seconds between two checks of the connection
CHECK_TIMEOUT = 5.0  # seconds for the database to answer such a check
RETRY_DELAY = 0.3  # seconds between two connection attempts
MAX_TASK_IDS = 1000  # ids that a subscription collects; above that, it reports ANY_TASK

log = logging.getLogger(__name__)

ANY_TASK = None
"""Stands for a task instance where any of them may have changed."""


class Subscription:
    """Collects the task instances that have changed, and wakes the subscriber.

    A new subscription is notified at once, since it has missed everything before.
    """

    def __init__(self) -> None:
        self._notified = asyncio.Event()
        self._changed: set[int] | None = ANY_TASK
        self.closed = False
        self._notified.set()

    def notify(self, task_id: int | None) -> None:
        """Note that a task instance has changed, or that ANY_TASK may have."""
        if task_id is ANY_TASK or (self._changed is not None and len(self._changed) >= MAX_TASK_IDS):
            self._changed = ANY_TASK
        elif self._changed is not None:
            self._changed.add(task_id)
        self._notified.set()

    def close(self) -> None:
        """End the subscription: no further notification follows."""
        self.closed = True
        self._notified.set()

    async def wait(self) -> None:
        """Wait for the next notification; return at once when the subscription is closed."""
        await self._notified.wait()
        if not self.closed:
            self._notified.clear()

    def take_changes(self) -> Set[int] | None:
        """Return the ids of the task instances that have changed since the last call, or ANY_TASK."""
        changed, self._changed = self._changed, set()
        return changed


class Notifications:
    """The subscriptions of this process."""

    def __init__(self) -> None:
        self._subscriptions: defaultdict[int | None, set[Subscription]] = defaultdict(set)
        self.closed = False

    def __len__(self) -> int:
        return sum(len(subscriptions) for subscriptions in self._subscriptions.values())

    @contextmanager
    def subscribe(self, task_id: int | None) -> Iterator[Subscription]:
        """Subscribe to one task instance, or to ANY_TASK, for the length of the block."""
        subscription = Subscription()
        if self.closed:
            subscription.close()
        self._subscriptions[task_id].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[task_id].discard(subscription)
            if not self._subscriptions[task_id]:
                del self._subscriptions[task_id]

    def publish(self, task_id: int | None) -> None:
        """Notify the subscribers of a task instance, or all of them for ANY_TASK."""
        topics = {task_id, ANY_TASK} if task_id is not ANY_TASK else set(self._subscriptions)
        for topic in topics & self._subscriptions.keys():
            for subscription in self._subscriptions[topic]:
                subscription.notify(task_id)

    def close(self) -> None:
        """Close every subscription, and those that follow: the process ends."""
        self.closed = True
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.close()


@asynccontextmanager
async def listen(url: str) -> AsyncIterator[Notifications]:
    """Publish the notifications of the database at `url`; after a lost connection, notify every subscriber."""
    notifications = Notifications()
    listener = asyncio.create_task(_publish_all(notifications, url), name="notifications")
    try:
        yield notifications
    finally:
        notifications.close()
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener


async def _publish_all(notifications: Notifications, url: str) -> NoReturn:
    while True:
        try:
            async with await Connection.connect(url, autocommit=True, row_factory=dict_row) as connection:
                await execute(connection, "listen_for_task_changes")
                notifications.publish(ANY_TASK)  # changes while there was no connection were not notified
                while True:
                    async for notification in connection.notifies(timeout=CHECK_INTERVAL):
                        notifications.publish(int(notification.payload))
                    async with asyncio.timeout(CHECK_TIMEOUT):
                        await execute(connection, "ping")
        except (psycopg.Error, TimeoutError) as error:
            log.warning(
                "The connection for notifications is lost; connecting again: %s",
                error,
                extra={"action": "notifications_lost"},
            )
        await asyncio.sleep(RETRY_DELAY)
