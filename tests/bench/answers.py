"""Response times: takeOver for one host and for a thousand, and one task instance's document."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg

from service.model.types import JSON
from service.store import embedded
from tests.lab import inventory
from tests.lab.service import Service, running

from . import accounting
from .ground import CLUSTER
from .harness import Plan
from .results import Goal, Result, compare

HOSTS = 1000
_TIMES = 20  # of the quick ones in each repetition; their median counts
_TABLES = "task_instance, obproxy_server, procrastinate_jobs"
_MS = 1000.0


class UnexpectedResponse(Exception):
    """The service did not do what was asked; the text is its answer."""


def answers(directory: Path, plan: Plan) -> list[Result]:
    """Each beside the smallest answer of the same service (/api/status); nothing takes the jobs off the queue."""
    with ExitStack() as stack:
        url = stack.enter_context(embedded.running(directory / "postgres"))
        write_inventory(directory)
        service = stack.enter_context(
            running(directory, directory / "inventory", database_url=url, worker="false", hosts_limit=str(HOSTS))
        )
        http = stack.enter_context(_session(service))
        one, many, gets, floors = [], [], [], []
        for number in range(plan.repetitions + 1):
            empty(url)
            accounting.wait_until_quiet(plan.patience)
            floor = _median(lambda: _send(http, "GET", "/api/status"))
            single = sorted(_take_over(http, [host])[0] for host in range(1, _TIMES + 1))[_TIMES // 2]
            empty(url)
            thousand, tasks = _take_over(http, range(1, HOSTS + 1))
            chosen = iter(tasks[:: HOSTS // _TIMES])
            get = _median(lambda chosen=chosen: _send(http, "GET", f"/api/v2/tasks/instances/{next(chosen)}"))  # type: ignore[misc]
            took = f"1 host {single:.1f} ms, {HOSTS} hosts {thousand:.0f} ms, GET {get:.1f} ms"
            plan.say(f"{number}/{plan.repetitions}  {took}")
            if number:  # the first one reads the inventory and warms up
                one.append(single)
                many.append(thousand)
                gets.append(get)
                floors.append(floor)
    against = "/api/status"
    return [
        compare(f"takeOver of 1 host, answered / {against}", "ms", one, floors, Goal(at_most=15, of="ours")),
        compare(f"takeOver of {HOSTS} hosts, answered / {against}", "ms", many, floors, Goal(at_most=1500, of="ours")),
        compare(f"GET of a task / {against}", "ms", gets, floors, Goal(at_most=5, of="ours")),
    ]


def write_inventory(directory: Path) -> None:
    """Return a thousand hosts that nothing connects to (addresses for benchmarks, RFC 2544)."""
    entries = [
        inventory.Entry(
            name=f"host-{number}",
            address=f"198.18.{number // 250}.{number % 250 + 1}",
            host_id=number,
            cluster=CLUSTER.name,
            host_key="ssh-ed25519 AAAA",
        )
        for number in range(1, HOSTS + 1)
    ]
    inventory.write(directory / "inventory", entries, directory / "ssh-key", directory / "known_hosts")


def _session(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, auth=("admin", service.password), timeout=60)


def _take_over(http: httpx.Client, hosts: Iterable[int]) -> tuple[float, list[int]]:
    """Milliseconds until the whole answer is there, and the task instances in it."""
    body = {"hosts": [{"hostId": number, "sqlPort": 2883} for number in hosts]}
    begun = time.perf_counter()
    answer = _send(http, "POST", f"/api/v2/obproxy/clusters/{CLUSTER.id}/takeOver", body)
    waited = (time.perf_counter() - begun) * _MS
    return waited, [document["id"] for document in answer.json()["data"]["contents"]]


def _median(ask: Callable[[], object]) -> float:
    """Return the median of `_TIMES` answers, in milliseconds."""
    waited = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        ask()
        waited.append((time.perf_counter() - begun) * _MS)
    return sorted(waited)[len(waited) // 2]


def _send(http: httpx.Client, method: str, path: str, body: JSON | None = None) -> httpx.Response:
    answer = http.request(method, path, json=body)
    if not answer.is_success:
        raise UnexpectedResponse(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
    return answer


def empty(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {_TABLES} CASCADE".encode())
