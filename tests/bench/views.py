"""The ways to follow task instances: the API by GET and by event stream, the page in a browser, and the command line.

Each opens what a user opens after a submit: the page, the stream and the command of the task instance when there is
only one, else those of the request.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from playwright.async_api import BrowserContext

from service.cli.client import REQUESTS, TASKS
from tests.integration.event_stream_client import events
from tests.lab.service import PROGRAM, Service

# Reports the progress that the page shows, whenever a part of it has changed.
WATCH_PAGE = """
([id, roles]) => {
  const shown = new Map();
  const report = (id, finished) => {
    if (shown.get(id) === finished) return;
    shown.set(id, finished);
    window.noteProgress(id, finished, Date.now() / 1000);
  };
  const look = () => {
    const done = document.querySelectorAll(".box.status-SUCCESSFUL");
    if (id) report(id, new Set([...done].map((box) => box.dataset.subtask)).size);
    for (const tile of document.querySelectorAll("#hosts a")) {
      const at = roles.findIndex((name) => tile.title.endsWith(` · ${name}`));
      const finished = tile.classList.contains("status-SUCCESSFUL") ? roles.length : Math.max(at, 0);
      report(Number(tile.id.replace("host-", "")), finished);
    }
  };
  look();
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}
"""

Note = Callable[[int, int, float], None]
"""Notes that a task instance was seen with a number of finished subtasks, at a time in seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The task instances of one request, with the names of their subtasks in order, and the means to follow them."""

    service: Service
    http: httpx.AsyncClient
    browser: BrowserContext
    request_id: int
    task_ids: Sequence[int]
    subtasks: Sequence[str]

    @property
    def single(self) -> int | None:
        """The task instance, if there is only one."""
        return self.task_ids[0] if len(self.task_ids) == 1 else None

    @property
    def path(self) -> str:
        """The path of what a reader follows: the task instance, or the request of several."""
        return f"{REQUESTS}/{self.request_id}" if self.single is None else f"{TASKS}/{self.single}"


@dataclass(frozen=True, kw_only=True)
class View:
    """A way to follow task instances. `only_ends`: of several, it shows only the end of each."""

    name: str
    open: Callable[[Scene, Note], AbstractAsyncContextManager[None]]
    only_ends: bool = False


@asynccontextmanager
async def _repeated_get(scene: Scene, note: Note) -> AsyncIterator[None]:
    """Get the document, and get it again as soon as it has arrived."""

    async def follow(opened: asyncio.Event) -> None:
        while True:
            answer = (await scene.http.get(scene.path)).raise_for_status()
            _note_all(answer.json()["data"], note)
            opened.set()

    async with _following(follow):
        yield


@asynccontextmanager
async def _event_stream(scene: Scene, note: Note) -> AsyncIterator[None]:
    async def follow(opened: asyncio.Event) -> None:
        async with aclosing(events(scene.http, f"{scene.path}/events")) as stream:
            async for event in stream:
                if event.event != "log":
                    _note_all(json.loads(event.data), note)
                opened.set()

    async with _following(follow):
        yield


@asynccontextmanager
async def _page(scene: Scene, note: Note) -> AsyncIterator[None]:
    path = f"/requests/{scene.request_id}" if scene.single is None else f"/tasks/{scene.single}?view=flow"
    page = await scene.browser.new_page()
    await page.expose_function("noteProgress", note)
    async with page.expect_response(lambda response: response.url.split("?")[0].endswith("/events")):
        await page.goto(scene.service.url + path)
    await page.evaluate(WATCH_PAGE, [scene.single, list(scene.subtasks)])
    yield
    await page.close()


@asynccontextmanager
async def _command(scene: Scene, note: Note) -> AsyncIterator[None]:
    """Follow the lines of the command in a pipe: one per subtask of a single task instance, else one per host."""
    watch = ["request", "watch", str(scene.request_id)] if scene.single is None else ["watch", str(scene.single)]
    credentials = {
        "OBPROXY_TAKEOVER_URL": scene.service.url,
        "OBPROXY_TAKEOVER_PASSWORD_FILE": str(scene.service.password_file),
    }
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *watch, env={**os.environ, **credentials}, stdout=asyncio.subprocess.PIPE, stderr=sys.stderr
    )
    assert process.stdout is not None
    output = process.stdout
    expected = len(scene.subtasks) if scene.single else len(scene.task_ids)

    async def follow(opened: asyncio.Event) -> None:
        lines = finished = 0
        async for line in output:
            lines += 1
            words = line.decode().split()
            if scene.single is not None and words[2:3] == ["SUCCESSFUL"]:
                finished += 1
                note(scene.single, finished, time.time())
            elif scene.single is None and words[2:] == ["SUCCESSFUL"]:  # not the summary at the end
                note(int(words[1]), len(scene.subtasks), time.time())
            if lines == expected:
                opened.set()

    try:
        async with _following(follow):
            yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def _following(follow: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    """Run `follow` for the length of the block, which begins when it has set its event."""
    opened = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_awaited(follow(opened)))
        await opened.wait()
        yield
        task.cancel()


async def _awaited(result: Awaitable[None]) -> None:
    await result


def _note_all(document: Mapping[str, Any], note: Note) -> None:
    now = time.time()
    for task_id, finished in _progress(document):
        note(task_id, finished, now)


def _progress(document: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield each task instance of a document with the number of its finished subtasks."""
    if "hosts" in document:
        yield from ((host["taskId"], host["finishedSubtasks"]) for host in document["hosts"])
    else:
        yield document["id"], sum(subtask["status"] == "SUCCESSFUL" for subtask in document["subtasks"])


VIEWS = (
    View(name="GET", open=_repeated_get),
    View(name="event stream", open=_event_stream),
    View(name="page", open=_page),
    View(name="watch", open=_command, only_ends=True),
)
