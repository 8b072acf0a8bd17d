"""Lease renewal: it does not wait for runs that are being reported, and a report renews the lease."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import pytest

from service.model.tasks import TaskInstance
from service.model.workflow import TAKEOVER
from service.outcome import run_progress
from service.outcome.run_progress import RunEnd
from service.runs.leftovers import LeftoverCheck
from service.runs.run import Run
from service.store.database import execute, fetch
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from service.worker.leases import Leases
from service.worker.supervisor import StopReason, Supervisor, TimeLimit
from tests.integration.users import ADMIN

DEADLINE = 10.0  # seconds within which what waits for nothing is through
IDENTS = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]


class SupervisorDouble:
    """Replaces a run's supervisor, and keeps the calls it receives."""

    def __init__(self) -> None:
        self.stops: list[StopReason] = []
        self.renewals: list[float] = []

    def stop(self, reason: StopReason) -> None:
        self.stops.append(reason)

    def renew(self, renewed: float) -> None:
        self.renewals.append(renewed)


@pytest.fixture
async def tasks(resources: Resources) -> list[TaskInstance]:
    """Two task instances, each with a run that was last renewed a while ago."""
    hosts = [HostRequest(host_id=number, sql_port=2883) for number in (1, 2)]
    submitted = [task for task, _ in await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")]
    async with resources.database.transaction() as connection:
        for ident, task in zip(IDENTS, submitted, strict=True):
            await execute(connection, "insert_run", ident=ident, task_id=task.id, executor="x")
        await connection.execute("UPDATE run SET renewed = now() - interval '9 seconds'")
    return submitted


@pytest.fixture
async def held(resources: Resources, tasks: list[TaskInstance]) -> AsyncIterator[tuple[Leases, list[SupervisorDouble]]]:
    """Yield a worker's leases on both."""
    leases, supervisors = Leases(resources.database), [SupervisorDouble(), SupervisorDouble()]
    with ExitStack() as stack:
        for ident, supervisor in zip(IDENTS, supervisors, strict=True):
            stack.enter_context(leases.holding(ident, cast(Supervisor, supervisor)))
        yield leases, supervisors


async def renewed(resources: Resources) -> list[datetime]:
    async with resources.database.transaction() as connection:
        rows = await (await connection.execute("SELECT renewed FROM run ORDER BY ident")).fetchall()
    return [row["renewed"] for row in rows]


async def report(resources: Resources, ident: str, batch: int = 1) -> list[dict[str, Any]]:
    async with resources.database.transaction() as connection:
        return await fetch(connection, "record_run_batch", ident=ident, batch=batch, ended=False, rc=None)


async def test_a_run_that_is_being_reported_keeps_no_other_waiting(
    resources: Resources, held: tuple[Leases, list[SupervisorDouble]]
) -> None:
    leases, (reported, other) = held
    before = await renewed(resources)
    async with asyncio.timeout(DEADLINE), resources.database.transaction() as reporting:
        await fetch(reporting, "record_run_batch", ident=IDENTS[0], batch=1, ended=False, rc=None)
        asked = time.monotonic()
        await leases.renew()
        during = await renewed(resources)
        await report(resources, IDENTS[1])  # and the renewal has kept none for itself

    assert during[0] == before[0] and during[1] > before[1]
    assert reported.renewals == [] and other.renewals[0] >= asked
    assert reported.stops == other.stops == []


async def test_a_report_renews_its_run(resources: Resources, held: tuple[Leases, list[SupervisorDouble]]) -> None:
    before = await renewed(resources)
    assert await report(resources, IDENTS[0])
    after = await renewed(resources)
    assert after[0] > before[0] and after[1] == before[1]


async def test_a_report_that_has_waited_takes_nothing_from_a_later_renewal(
    resources: Resources, held: tuple[Leases, list[SupervisorDouble]]
) -> None:
    leases, _ = held
    async with resources.database.transaction() as reporting:
        await execute(reporting, "ping")  # its transaction begins
        await leases.renew()
        later = (await renewed(resources))[0]
        await fetch(reporting, "record_run_batch", ident=IDENTS[0], batch=1, ended=False, rc=None)
    assert (await renewed(resources))[0] >= later


async def test_a_run_that_another_worker_has_answered_for_is_stopped_and_not_renewed(
    resources: Resources, tasks: list[TaskInstance], held: tuple[Leases, list[SupervisorDouble]]
) -> None:
    leases, (taken, own) = held
    (before, _) = await renewed(resources)
    assert await Recorder(replace(resources, executor="other"), tasks[0].id).expire({IDENTS[0]: before})
    await leases.renew()
    assert (taken.stops, taken.renewals, own.stops) == ([StopReason.LEASE_LOST], [], []) and len(own.renewals) == 1


class RunDouble(SupervisorDouble):
    """Replaces a run: it reports once, is silent, and ends."""

    ident = IDENTS[0]
    pid = None

    async def batches(self) -> AsyncGenerator[tuple[list[dict[str, Any]], RunEnd | None]]:
        yield [{"event": "playbook_on_start", "counter": 1}], None
        self.after_a_report = list(self.renewals)
        yield [{"event": "of no concern to any subtask", "counter": 2}], None
        self.after_nothing = list(self.renewals)
        yield [], RunEnd(rc=0, status="successful")

    async def close(self) -> None:
        """Do nothing, in place of the check for leftovers on the host."""


async def test_a_report_confirms_the_lease_to_the_run(
    resources: Resources, tasks: list[TaskInstance], held: tuple[Leases, list[SupervisorDouble]]
) -> None:
    roles = resources.workflows[TAKEOVER].roles
    run, started = RunDouble(), time.monotonic()
    supervisor = Supervisor(
        lambda: cast(Run, run),
        Recorder(resources, tasks[0].id, run=IDENTS[0]),
        run_progress.begin(roles, "odp-1"),
        {role: TimeLimit(0, 0.0) for role in roles},
        cast(LeftoverCheck, run),
    )
    await supervisor.follow()
    assert len(run.after_a_report) == 1 and run.after_a_report[0] >= started
    assert run.after_nothing == run.after_a_report, "what was not written renews nothing"


async def test_renewals_go_on_after_any_error(monkeypatch: pytest.MonkeyPatch, resources: Resources) -> None:
    """Without them, every run of the worker would end after 20 s, and the worker would go on taking jobs."""
    monkeypatch.setattr("service.worker.leases.RENEWAL_INTERVAL", 0.01)
    leases, attempts, renewed = Leases(resources.database), 0, asyncio.Event()

    async def renew() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise RuntimeError("unexpected")
        renewed.set()

    monkeypatch.setattr(leases, "renew", renew)
    renewing = asyncio.create_task(leases.renew_forever())
    async with asyncio.timeout(DEADLINE):
        await renewed.wait()
    renewing.cancel()
    await asyncio.wait([renewing])
    assert renewing.cancelled()
