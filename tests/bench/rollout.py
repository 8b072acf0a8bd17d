"""One request of 200 hosts, all at once and in batches of 20: `python -m tests.bench.rollout`.

The runs are stand-ins, so what is measured is the service and PostgreSQL. docs/scale.md has a result.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import batched, pairwise
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from starlette.applications import Starlette

from service.app import create_app
from service.model.settings import Settings
from service.runs import run
from service.store.embedded import running
from service.tasks import requests
from service.tasks.resources import Resources
from service.worker import worker

from .stand_in import StandIn

HOSTS, BATCH = 200, 20
CONCURRENCY = 20  # runs of the worker
REQUESTS = "/api/v2/obproxy/requests"


async def main() -> None:
    run.start = StandIn  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="rollout-") as name, running(Path(name) / "pg") as url:
        inventory = Path(name) / "hosts.yml"
        numbers = range(1, 3 * HOSTS + 1)
        hosts = "".join(f"    host-{n}: {{ansible_host: 192.0.2.1, ocp_host_id: {n}}}\n" for n in numbers)
        inventory.write_text(f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{hosts}")
        settings = Settings(
            database_url=SecretStr(url),
            inventory=inventory,
            data_dir=Path(name) / "data",
            server_check_interval=0,
            worker_concurrency=CONCURRENCY,
        )
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            await app.state.resources.inventory.current()
            await _measure(app, settings)


async def _measure(app: Starlette, settings: Settings) -> None:
    password = (settings.data_dir / "admin-password").read_text(encoding="utf-8").strip()
    transport = httpx.ASGITransport(app=app)
    resources: Resources = app.state.resources
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service", auth=("admin", password), timeout=120
    ) as http:
        for number, rollout in enumerate((None, {"batchSize": BATCH}), 1):
            what = "all at once" if rollout is None else f"in batches of {BATCH}"
            await _timed(f"takeOver of {HOSTS} hosts, {what}", _take_over(http, number, rollout))
            begun = time.perf_counter()
            async with worker.running(replace(resources, settings=settings)):
                while (await requests.get(resources.database, number)).finish_time is None:
                    await asyncio.sleep(0.05)
            _print_row(f"{HOSTS} takeovers without Ansible, {what}", time.perf_counter() - begun)
        await _gaps(resources)
        await _timed(f"GET of a request of {HOSTS} hosts", http.get(f"{REQUESTS}/2"))
        await _take_over(http, 3, {"canary": 1, "batchSize": BATCH})
        for verb in ("cancel", "retry", "cancel"):
            await _timed(f"{verb} of {HOSTS} hosts that wait", http.post(f"{REQUESTS}/3/{verb}"))


async def _take_over(http: httpx.AsyncClient, number: int, rollout: Mapping[str, int] | None) -> httpx.Response:
    hosts = [{"hostId": host, "sqlPort": 2883} for host in range((number - 1) * HOSTS + 1, number * HOSTS + 1)]
    return await http.post("/api/v2/obproxy/clusters/1/takeOver", json={"hosts": hosts, "rollout": rollout})


async def _gaps(resources: Resources) -> None:
    """Print the time from the end of each batch to the first start of the next one."""
    found = await requests.hosts(resources.database, 2)
    gaps = []
    for before, after in pairwise(batched(found, BATCH)):
        last_end = max(host.finish_time for host in before if host.finish_time)
        gaps.append((min(host.start_time for host in after if host.start_time) - last_end).total_seconds())
    _print_row("end of a batch to the next start, median", statistics.median(gaps))
    _print_row("end of a batch to the next start, longest", max(gaps))


async def _timed(what: str, call: Any) -> None:
    begun = time.perf_counter()
    answer = await call
    _print_row(what, time.perf_counter() - begun)
    assert answer.status_code == 200, answer.text


def _print_row(what: str, seconds: float) -> None:
    print(f"{what:<56}{seconds * 1000:10.0f} ms", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
