"""Reading event streams as a caller does, coming back with the last id whenever the stream ends."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse

DEADLINE = 60.0  # seconds anything may take

TASK_EVENTS = "/api/v2/tasks/instances/{}/events"
LIST_EVENTS = "/api/v2/tasks/events"


async def events(
    http: httpx.AsyncClient, path: str, last: str | None = None, *, query: Mapping[str, int | str] | None = None
) -> AsyncGenerator[ServerSentEvent]:
    """Yield the events of one connection, until it ends."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with aconnect_sse(http, "GET", path, headers=headers, params=query) as source:
        source.response.raise_for_status()
        async with aclosing(source.aiter_sse()) as found:
            async for event in found:
                if event.data:  # the library takes what keeps a connection alive for an event
                    yield event


async def first(http: httpx.AsyncClient, path: str, count: int, **query: int) -> list[ServerSentEvent]:
    """Return the first `count` events."""
    found: list[ServerSentEvent] = []
    async with asyncio.timeout(DEADLINE), aclosing(events(http, path, query=query)) as stream:
        async for event in stream:
            found.append(event)
            if len(found) == count:
                break
    return found


@dataclass
class Reader:
    """A reader that reconnects repeatedly, and the documents and log lines that it has received."""

    ids: list[int] = field(default_factory=list)
    lines: dict[int, list[str]] = field(default_factory=dict)  # by subtask
    document: dict[str, Any] = field(default_factory=dict)

    def take(self, event: ServerSentEvent) -> None:
        """See one event."""
        self.ids.append(int(event.id))
        data = json.loads(event.data)
        if event.event == "task":
            self.document = data
        else:
            assert event.event == "log"
            self.lines.setdefault(data["subtaskId"], []).extend(data["lines"])
