"""Notifications of PostgreSQL reach the subscribers of the process, also after errors."""

import asyncio
from typing import Any

import pytest

from service.store import notifications
from service.store.database import Connection, execute

DEADLINE = 30.0


async def test_listening_goes_on_after_any_error(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise no page and no event stream would show a change until the service is started again."""
    attempts: list[str] = []

    async def fail_first(connection: Connection, name: str, **values: Any) -> None:
        attempts.append(name)
        if len(attempts) == 1:
            raise RuntimeError("unexpected")
        await execute(connection, name, **values)

    monkeypatch.setattr(notifications, "execute", fail_first)
    async with asyncio.timeout(DEADLINE), notifications.listen(database_url) as found:
        with found.subscribe(7) as subscription:
            await subscription.wait()  # at once, because it has missed everything before
            await subscription.wait()

    assert len(attempts) > 2
