"""The service over a long history: `python -m tests.bench.scale [TASK_INSTANCES]`, default 100000.

No host and no run: what is measured is PostgreSQL, HTTP, documents. docs/scale.md has a result.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
from pydantic import SecretStr
from starlette.applications import Starlette

from service.app import create_app
from service.model.settings import Settings
from service.runs import run
from service.store.embedded import running
from service.tasks.resources import Resources
from service.worker import retention, worker

from . import history
from .stand_in import StandIn

HOSTS = 1000
TIMES = 15
TASKS = "/api/v2/tasks/instances"

INVENTORY = """
all:
  children:
    test:
      vars: {{obproxy_cluster_id: 1, obproxy_package_name: obproxy, obproxy_package_version: 4.3.1.0-1,
             obproxy_start_mode: rs_list, obproxy_rs_list: "192.0.2.9:2882:2881"}}
  hosts:
{hosts}
"""


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="scale-") as name, running(Path(name) / "pg") as url:
        directory = Path(name)
        lines = (f"    new-{n}: {{ansible_host: 192.0.2.1, ocp_host_id: {HOSTS + n}}}" for n in range(1, HOSTS + 1))
        (directory / "hosts.yml").write_text(INVENTORY.format(hosts="\n".join(lines)))
        settings = Settings(
            database_url=SecretStr(url),
            inventory=directory / "hosts.yml",
            data_dir=directory / "data",
            rate_limit=0,
            rate_limit_minute=0,
            rate_limit_hour=0,
            rate_limit_day=0,
        )
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            resources: Resources = app.state.resources
            empty = await _size(resources)
            begun = time.perf_counter()
            await asyncio.to_thread(history.fill, url, count, hosts=HOSTS)
            print_row("filled", f"{count} task instances of {HOSTS} hosts", time.perf_counter() - begun)
            size = await _size(resources) - empty
            print(f"{'database':<44}{size / 2**20:10.0f} MB {size / count / 1024:8.1f} kB a task instance")
            begun = time.perf_counter()
            await resources.inventory.current()
            print_row("inventory of 1000 hosts, read by Ansible", "", time.perf_counter() - begun)
            await _measure(app, settings, count)
            await _work(resources)
            await _remove(resources, count)


async def _measure(app: Starlette, settings: Settings, count: int) -> None:
    password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service", auth=("admin", password), timeout=60
    ) as http:

        def get(path: str, **query: object) -> Callable[[], Awaitable[httpx.Response]]:
            return lambda: http.get(path, params={key: str(value) for key, value in query.items()})

        await get(TASKS)()
        await timed("list: first page", get(TASKS))
        await timed("list: last page", get(TASKS, page=count // 10))
        await timed("list: 100 a page", get(TASKS, size=100))
        await timed("list: FAILED", get(TASKS, status="FAILED"))
        await timed("list: RUNNING", get(TASKS, status="RUNNING"))
        await timed("list: of one host", get(TASKS, hostId=7))
        await timed("list: by name", get(TASKS, name="obproxy"))
        await timed("list: by a name that there is not", get(TASKS, name="nowhere"))
        await timed("detail", get(f"{TASKS}/{count // 2}"))
        await timed("log of a subtask", get(f"{TASKS}/{count // 2}/subtasks/{count * 6 - 5}/log"))
        hosts = [{"hostId": HOSTS + n, "sqlPort": 2883} for n in range(1, HOSTS + 1)]
        begun = time.perf_counter()
        answer = await http.post("/api/v2/obproxy/clusters/1/takeOver", json={"hosts": hosts})
        assert answer.status_code == 200, answer.text
        print_row("takeOver of 1000 hosts", "", time.perf_counter() - begun)
        await timed("list: RUNNING, 1000 of them", get(TASKS, status="RUNNING"))
        newest = answer.json()["data"]["contents"][-1]["id"]
        await timed("detail of one that is queued", get(f"{TASKS}/{newest}"))
        print(f"{'memory of this process':<44}{psutil.Process().memory_info().rss / 2**20:10.0f} MB")


async def _work(resources: Resources) -> None:
    """Do the 1000 queued ones, by one worker whose runs are stand-ins."""
    run.start = StandIn  # type: ignore[assignment]
    before, memory = await _size(resources), psutil.Process().memory_info().rss
    settings = resources.settings.model_copy(update={"worker_concurrency": 50})
    begun = time.perf_counter()
    async with worker.running(replace(resources, settings=settings)):
        while await _count(resources, "RUNNING"):
            await asyncio.sleep(0.2)
        took = time.perf_counter() - begun
    assert await _count(resources, "SUCCESSFUL") >= HOSTS
    print_row("1000 takeovers without Ansible", f"{StandIn.told / took:.0f} events a second", took)
    growth = psutil.Process().memory_info().rss - memory
    print(f"{'memory that took':<44}{growth / 2**20:10.0f} MB")
    print(f"{'database, of each':<44}{(await _size(resources) - before) / HOSTS / 1024:10.1f} kB")


async def _count(resources: Resources, status: str) -> int:
    async with resources.database.transaction() as connection:
        query = "SELECT count(*) AS found FROM task_instance WHERE status = %s"
        (row,) = await (await connection.execute(query, (status,))).fetchall()
    return int(row["found"])


async def timed(what: str, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
    """Print the median and the longest of some askings, and what this process computed for one, without PostgreSQL."""
    took, computed = [], time.process_time()
    for _ in range(TIMES):
        begun = time.perf_counter()
        answer = await ask()
        took.append(time.perf_counter() - begun)
        assert answer.status_code == 200, answer.text
    computed = (time.process_time() - computed) / TIMES
    numbers = (statistics.median(took), max(took), computed)
    median, longest, cpu = (f"{number * 1000:8.1f} ms" for number in numbers)
    print(f"{what:<44}{median} {longest} at the most {cpu} of CPU", flush=True)


async def _remove(resources: Resources, count: int) -> None:
    """All that is older than the newest tenth, as the periodic job does it."""
    days = int(count * 0.1 * 30 / 86400)
    asked = resources.settings.model_copy(update={"retention_days_tasks": max(days, 1)})
    begun = time.perf_counter()
    await retention.apply(replace(resources, settings=asked))
    async with resources.database.transaction() as connection:
        (left,) = await (await connection.execute("SELECT count(*) AS left FROM task_instance")).fetchall()
    print_row("retention", f"{count + HOSTS - left['left']} task instances removed", time.perf_counter() - begun)


async def _size(resources: Resources) -> int:
    async with resources.database.transaction() as connection:
        rows = await (await connection.execute("SELECT pg_database_size(current_database()) AS size")).fetchall()
    return int(rows[0]["size"])


def print_row(what: str, detail: str, seconds: float) -> None:
    print(f"{what:<44}{seconds:10.2f} s  {detail}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
