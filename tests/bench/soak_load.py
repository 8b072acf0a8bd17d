"""The load of the soak test for an hour: takeovers, real ones among them, and clients that poll them meanwhile.

A minute is a day for it: what ended five minutes ago is made two days old, and then retention removes it.
"""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import yaml

from service.store.database import open_database
from service.store.queue import QUEUE, open_queue

from .contenders import serve
from .ground import CLUSTER, Ground

STAND_IN = "stand-in-"
STAND_INS = 300
_FIRST_ID = 1001
_EACH = 1.0  # seconds from one takeover by a stand-in to the next
_REAL = 20.0  # seconds from one takeover of a lab host to the next
_LOOK = 1.0  # seconds between two looks of one who polls
_DAY = 60.0  # seconds
_LINES = 150  # of a stream, then its reader hangs up

_AGE = """
WITH aged AS (
    UPDATE task_instance SET finish_time = finish_time - interval '2 days'
    WHERE finish_time BETWEEN now() - interval '1 day' AND now() - interval '5 minutes'
)
UPDATE audit_event SET time = time - interval '2 days'
WHERE time BETWEEN now() - interval '1 day' AND now() - interval '5 minutes'
"""
_FREE = "DELETE FROM obproxy_server WHERE host_id >= %s AND status <> 'TAKINGOVER'"

Work = Callable[[], None]


def write_stand_ins(directory: Path) -> None:
    """Add hosts that do not exist to an inventory: no process listens at their addresses."""
    hosts = {
        f"{STAND_IN}{number}": {"ansible_host": "127.0.0.1", "ocp_host_id": _FIRST_ID + number}
        for number in range(STAND_INS)
    }
    (directory / "stand-ins.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}), encoding="utf-8")


class Load:
    """The work of a soak; `done` counts it, `failed` what went wrong."""

    def __init__(self, ground: Ground) -> None:
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self._ground = ground
        self._service = ground.service
        self._stop = threading.Event()
        self._hosts = itertools.cycle(range(_FIRST_ID, _FIRST_ID + STAND_INS))
        self._newest = 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Go on until the end of the block."""
        parts: Sequence[tuple[str, float, Work]] = [
            ("takeovers by stand-ins", _EACH, self._take_over),
            ("takeovers of lab hosts", _REAL, self._take_over_really),
            ("days", _DAY, self._pass_a_day),
            *[("looks", _LOOK, self._poll)] * 2,
            *[("streams", _LOOK, self._follow)] * 3,
        ]
        self._take_over()  # for the others to look at
        threads = [threading.Thread(target=self._repeat, args=part, daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _repeat(self, what: str, every: float, work: Work) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + every, time.monotonic())
            try:
                work()
                self.done[what] += 1
            except Exception as error:  # the soak test reports errors at its end
                self.failed.append(f"{what}: {type(error).__name__}: {error}")

    def _http(self) -> httpx.Client:
        return httpx.Client(base_url=self._service.url, auth=("admin", self._service.password), timeout=30)

    def _take_over(self) -> None:
        with self._service.client() as client:
            host = {"hostId": next(self._hosts), "sqlPort": 2883, "proxysysPasswd": "Soaked#1"}
            (document,) = client.take_over(CLUSTER.id, [host])
            self._newest = document["id"]

    def _take_over_really(self) -> None:
        hosts = self._ground.hosts[:1]
        self._ground.reset(hosts)
        serve(self._ground, hosts)

    def _poll(self) -> None:
        """Send the requests of a client that polls API and pages."""
        task = f"/api/v2/tasks/instances/{self._newest}"
        with self._http() as http:
            for path in ("/api/v2/tasks/instances?size=20", task, "/metrics", "/tasks", f"/tasks/{self._newest}"):
                http.get(path).raise_for_status()

    def _follow(self) -> None:
        """Follow a task instance until it has ended, or hang up in the middle of it."""
        with self._http() as http, http.stream("GET", f"/api/v2/tasks/instances/{self._newest}/events") as answer:
            answer.raise_for_status()
            for line in itertools.islice(answer.iter_lines(), _LINES):
                if line.startswith("data: ") and json.loads(line[6:]).get("status", "RUNNING") != "RUNNING":
                    return

    def _pass_a_day(self) -> None:
        with psycopg.connect(self._ground.database_url) as connection:
            connection.execute(_AGE)
            connection.execute(_FREE, (_FIRST_ID,))
        asyncio.run(self._retain())

    async def _retain(self) -> None:
        """Do the hourly work of the worker."""
        async with open_database(self._ground.database_url) as database, open_queue(database) as queue:
            await queue.app.configure_task("retention", queue=QUEUE).defer_async(timestamp=0)
