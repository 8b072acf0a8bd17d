"""Fans out PostgreSQL notifications to the subscribers of this process, over one connection.

A notification carries only an id: that of a task instance, or that of a host whose discovery has changed. Subscribers
read the rows that they have not seen. Late, repeated or merged notifications therefore lose and repeat nothing, and a
slow subscriber costs no memory.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Set
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from typing import NoReturn

from psycopg.rows import dict_row

from service.store.database import Connection, execute

CHECK_INTERVAL = 5.0  # seconds between two checks of the connection
CHECK_TIMEOUT = 5.0  # seconds for the database to answer such a check
RETRY_DELAY = 0.3  # seconds between two connection attempts
MAX_IDS = 1000  # ids that a subscription collects; above that, it reports ANY

log = logging.getLogger(__name__)

ANY = None
"""Stands for an id where any of them may have changed."""


class Channel(StrEnum):
    """A channel of PostgreSQL: the subject of its notifications."""

    TASKS = "takeover_task"  # ids of task instances
    DISCOVERIES = "host_discovery"  # ids of hosts


class Subscription:
    """Collects the ids of what has changed, and wakes the subscriber.

    A new subscription is notified at once, since it has missed everything before.
    """

    def __init__(self) -> None:
        self._notified = asyncio.Event()
        self._changed: set[int] | None = ANY
        self.closed = False
        self._notified.set()

    def notify(self, changed: int | None) -> None:
        """Note that the subject with an id has changed, or that ANY may have."""
        if changed is ANY or (self._changed is not None and len(self._changed) >= MAX_IDS):
            self._changed = ANY
        elif self._changed is not None:
            self._changed.add(changed)
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
        """Return the ids of what has changed since the last call, or ANY."""
        changed, self._changed = self._changed, set()
        return changed


class Notifications:
    """The subscriptions of this process."""

    def __init__(self) -> None:
        self._subscriptions: defaultdict[tuple[Channel, int | None], set[Subscription]] = defaultdict(set)
        self.closed = False

    def __len__(self) -> int:
        return sum(len(subscriptions) for subscriptions in self._subscriptions.values())

    @contextmanager
    def subscribe(self, subject: int | None, channel: Channel = Channel.TASKS) -> Iterator[Subscription]:
        """Subscribe to one id of a channel, or to ANY, for the length of the block."""
        subscription = Subscription()
        if self.closed:
            subscription.close()
        topic = (channel, subject)
        self._subscriptions[topic].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[topic].discard(subscription)
            if not self._subscriptions[topic]:
                del self._subscriptions[topic]

    def publish(self, channel: Channel, changed: int) -> None:
        """Notify the subscribers of an id, and those of all ids of its channel."""
        for topic in {(channel, changed), (channel, ANY)} & self._subscriptions.keys():
            for subscription in self._subscriptions[topic]:
                subscription.notify(changed)

    def publish_all(self) -> None:
        """Notify every subscriber: anything may have changed."""
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.notify(ANY)

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
                await execute(connection, "listen_for_discoveries")
                notifications.publish_all()  # changes while there was no connection were not notified
                while True:
                    async for notification in connection.notifies(timeout=CHECK_INTERVAL):
                        with suppress(ValueError):  # no id: any session of the database can notify a channel
                            notifications.publish(Channel(notification.channel), int(notification.payload))
                    async with asyncio.timeout(CHECK_TIMEOUT):
                        await execute(connection, "ping")
        except Exception as error:  # the loop must survive an unavailable database
            log.warning(
                "The connection for notifications is lost; connecting again: %s",
                error,
                extra={"action": "notifications_lost"},
            )
        await asyncio.sleep(RETRY_DELAY)
