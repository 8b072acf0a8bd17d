"""Delay from the end of a subtask in a run until it is seen by GET, in the event stream, on the page and in the CLI.

Recorded events take the place of the runs: nothing connects to a host. The recorder, PostgreSQL, the service, the
browser and the command are real. The delay begins when the worker has the event.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from uuid import uuid4

import httpx
from playwright.async_api import BrowserContext, async_playwright
from pydantic import SecretStr

from service.model.settings import Settings
from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Change, Ended, Logged, Started, Verdict
from service.store import embedded
from service.store.database import execute
from service.tasks import instances
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources, open_resources
from tests.browser.visitor import ARGUMENTS, CHROMIUM
from tests.integration import sample_tasks
from tests.lab.service import Service, running

from . import accounting
from .answers import empty, write_inventory
from .harness import Plan
from .results import Goal, Result, compare
from .views import VIEWS, Scene, View

SIZES = (1, 50, 500)  # task instances of the request
RUNS = 8  # at the same time, as a worker on two processors has
PACE = 0.1  # seconds between the ends of two subtasks of a run, as on a lab host
LENGTH = 5.0  # seconds that runs go on
DEADLINE = 60.0  # seconds until everything must be seen
GOAL = Goal(at_most=2000, of="ours")
_MS = 1000.0
_LOG = "TASK [{role} : Check]\nok: [host] => All assertions passed"


class NotSeen(Exception):
    """A view has not shown a change."""


@dataclass(kw_only=True)
class Times:
    """The times of one measurement, in seconds since 1970."""

    total: int  # subtasks of a task instance
    changes: dict[tuple[int, int], float] = field(default_factory=dict)  # by task instance and finished subtasks
    writes: list[float] = field(default_factory=list)  # seconds of the transactions
    seen: defaultdict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def note(self, task_id: int, finished: int, at: float) -> None:
        """Note that a task instance was seen with a number of finished subtasks."""
        seen = self.seen[task_id]
        if not seen or seen[-1][0] < finished:
            seen.append((finished, at))

    def unseen(self, *, only_ends: bool) -> dict[tuple[int, int], list[tuple[int, float]]]:
        """Return the changes that were not seen yet, each with what was seen of its task instance."""
        found = zip(self._shown(only_ends), self.delays(only_ends=only_ends), strict=True)
        return {change: self.seen[change[0]] for change, delay in found if delay is None}

    def delays(self, *, only_ends: bool) -> Iterator[float | None]:
        """Yield the delay of each change, or only of each end of a task instance, None = not seen yet."""
        for task_id, finished in self._shown(only_ends):
            begun = self.changes[task_id, finished]
            yield next((at - begun for seen, at in self.seen[task_id] if seen >= finished), None)

    def _shown(self, only_ends: bool) -> list[tuple[int, int]]:
        return [change for change in self.changes if not only_ends or change[1] == self.total]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A service without a worker, the resources of the recorder, a client and a browser that are logged in."""

    database_url: str
    service: Service
    resources: Resources
    http: httpx.AsyncClient
    browser: BrowserContext


Measured = dict[tuple[str, int], list[Times]]


def delays(directory: Path, plan: Plan) -> list[Result]:
    """Return median and 95th percentile of the delays of each view and size, beside the time of the write itself."""
    measured = asyncio.run(_measure(directory, plan))
    results = []
    for view in VIEWS:
        for size in SIZES:
            found = measured[view.name, size]
            series = [_delays(view, size, times) for times in found]
            writes = [median(times.writes) * _MS for times in found]
            name = f"{view.name}, {size} task instance{'s' if size > 1 else ''}"
            results += [
                compare(f"{name}: median / write", "ms", [median(one) for one in series], writes, GOAL),
                compare(f"{name}: 95th percentile / write", "ms", [_percentile(one) for one in series], writes, GOAL),
            ]
    return results


async def _measure(directory: Path, plan: Plan) -> Measured:
    measured: Measured = defaultdict(list)
    async with _prepared(directory) as ground:
        for number in range(plan.repetitions + 1):
            for size in SIZES if number else SIZES[:1]:  # the first one reads the inventory and warms up
                for view in VIEWS:
                    accounting.wait_until_quiet(plan.patience)
                    times = await _watch(ground, view, size)
                    found = _delays(view, size, times)
                    shown = f"median {median(found):.0f} ms, 95th percentile {_percentile(found):.0f} ms"
                    plan.say(f"{number}/{plan.repetitions}  {view.name}, {size}: {shown} of {len(found)}")
                    if number:
                        measured[view.name, size].append(times)
    return measured


def _delays(view: View, size: int, times: Times) -> list[float]:
    found = times.delays(only_ends=view.only_ends and size > 1)
    return [delay * _MS for delay in found if delay is not None]


def _percentile(found: list[float]) -> float:
    return quantiles(found, n=20, method="inclusive")[-1]


@asynccontextmanager
async def _prepared(directory: Path) -> AsyncIterator[Ground]:
    async with AsyncExitStack() as stack:
        url = stack.enter_context(embedded.running(directory / "postgres"))
        write_inventory(directory)
        inventory = directory / "inventory"
        service = stack.enter_context(running(directory, inventory, database_url=url, worker="false"))
        settings = Settings(database_url=SecretStr(url), data_dir=directory / "recorder", inventory=inventory)
        resources = await stack.enter_async_context(open_resources(settings))
        login = ("admin", service.password)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=service.url, auth=login, timeout=DEADLINE))
        playwright = await stack.enter_async_context(async_playwright())
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        stack.push_async_callback(chromium.close)
        browser = await chromium.new_context(viewport={"width": 1280, "height": 900})
        await _log_in(browser, service)
        yield Ground(database_url=url, service=service, resources=resources, http=http, browser=browser)


async def _log_in(browser: BrowserContext, service: Service) -> None:
    page = await browser.new_page()
    await page.goto(f"{service.url}/login")
    await page.fill("#name", "admin")
    await page.fill("#password", service.password)
    await page.click("button[type=submit].primary")
    await page.wait_for_url(lambda url: not url.startswith(f"{service.url}/login"))
    await page.close()


async def _watch(ground: Ground, view: View, size: int) -> Times:
    """Submit a request, let the view show it, and record what runs of its task instances would report."""
    empty(ground.database_url)
    task_ids = await sample_tasks.submit_request(ground.resources, range(1, size + 1))
    task, subtasks = await instances.get(ground.resources.database, task_ids[0])
    assert task.request_id is not None
    scene = Scene(
        service=ground.service,
        http=ground.http,
        browser=ground.browser,
        request_id=task.request_id,
        task_ids=task_ids,
        subtasks=[subtask.name for subtask in subtasks],
    )
    times = Times(total=len(subtasks))
    async with view.open(scene, times.note):
        waiting, until = iter(task_ids), time.monotonic() + LENGTH
        async with asyncio.TaskGroup() as runs:
            for _ in range(RUNS):
                runs.create_task(_run(ground.resources, waiting, times, until))
        deadline = time.monotonic() + DEADLINE
        while unseen := times.unseen(only_ends=view.only_ends and size > 1):
            if time.monotonic() > deadline:
                raise NotSeen(f"{view.name} has not shown {unseen} after {DEADLINE:.0f} s.")
            await asyncio.sleep(PACE)
    return times


async def _run(resources: Resources, waiting: Iterator[int], times: Times, until: float) -> None:
    """Let one task instance after the other succeed, subtask by subtask, while there is time."""
    roles = resources.workflows[TAKEOVER].roles
    following: Mapping[str, str] = dict(pairwise(roles))
    for task_id in waiting:
        async with resources.database.autocommit() as connection:
            await execute(connection, "insert_run", ident=uuid4(), task_id=task_id, executor=resources.executor)
        recorder = Recorder(resources, task_id)
        await recorder.record([Started(role=roles[0])])
        for finished, role in enumerate(roles, 1):
            await asyncio.sleep(PACE)
            if time.monotonic() > until:
                return
            changes: list[Change] = [Logged(role=role, text=_LOG.format(role=role))]
            changes.append(Ended(role=role, verdict=Verdict.SUCCESSFUL, code="", message=""))
            if role in following:
                changes.append(Started(role=following[role]))
            begun = time.time()
            times.changes[task_id, finished] = begun
            await recorder.record(changes)
            times.writes.append(time.time() - begun)
