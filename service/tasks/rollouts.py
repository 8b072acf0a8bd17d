"""Starts the hosts of a request in batches, by its rollout policy.

A task instance that may not start yet is RUNNING in OCP's model, and its first subtask is READY. Its job is held: it is
in a queue of its own, from which no worker fetches. The transaction that ends a task instance starts the next ones, or
stops the rollout. It locks the request: of several task instances that end at the same time, the last one sees all.

Lock order: OBProxy servers and task instances, then their request, then the held task instances of this request. So a
transaction that has locked a held task instance must not lock its request.
"""

import logging
from collections.abc import Mapping, Sequence

from service.model.rollout import Progress, Rollout, Step, next_step
from service.model.tasks import Held
from service.store.database import Connection, Database, execute, fetch
from service.store.database_errors import retry_contention
from service.store.queue import HELD_QUEUE, QUEUE, Queue

log = logging.getLogger(__name__)


async def defer(connection: Connection, queue: Queue, hosts: Mapping[int, int], rollout: Rollout | None) -> None:
    """Put the jobs of a new request's task instances (id → host id) on the queue, or only those of its first batch."""
    if rollout is None:
        await queue.defer(connection, hosts)
        return
    await queue.hold(connection, hosts)
    (first, *_) = await fetch(connection, "tasks_by_id", task_ids=list(hosts))
    await advance(connection, first["request_id"])


async def advance(connection: Connection, request_id: int) -> None:
    """Start the hosts of a request whose turn it is, or stop its rollout; do nothing without a policy."""
    policy = await lock(connection, request_id)
    if policy is None:
        return
    (row,) = await fetch(connection, "rollout_progress", request_id=request_id, canary=policy.canary)
    if row.pop("stopped"):
        return  # until the request is retried
    step = next_step(policy, Progress(**row))
    if step.stop:
        log.warning(
            "The rollout of request %s stops: number of failed hosts %s, maxFailures %s",
            *(request_id, row["failed"], policy.max_failures),
            extra={"action": "rollout_stopped", "request_id": request_id},
        )
        await _hold(connection, request_id, Held.ROLLOUT, Held.MAX_FAILURES)
    elif step.start:
        await _start(connection, request_id, step, policy)


async def lock(connection: Connection, request_id: int) -> Rollout | None:
    """Lock a request until the transaction ends; return its policy, or None, without a lock, when it has none."""
    rows = await fetch(connection, "lock_rollout", request_id=request_id)
    return Rollout(**rows[0]["rollout"]) if rows else None


@retry_contention
async def stop(database: Database, request_id: int) -> None:
    """Start no further host of a request."""
    async with database.transaction() as connection:
        if await lock(connection, request_id) is not None:
            await _hold(connection, request_id, Held.ROLLOUT, Held.MAX_FAILURES)


async def resume(database: Database, request_id: int) -> None:
    """Resume the rollout of a request: failures until now are accepted, and hosts that were not to start may start.

    In two transactions: PostgreSQL checks the foreign keys of a row that is updated twice in one, which locks the
    OBProxy server after its task instance. A crash between them is of no consequence (`advance_all`).
    """
    await _accept_failures(database, request_id)
    await _advance_one(database, request_id)


@retry_contention
async def _accept_failures(database: Database, request_id: int) -> None:
    async with database.transaction() as connection:
        if await lock(connection, request_id) is not None:
            await execute(connection, "accept_failures_of_request", request_id=request_id)
            await _hold(connection, request_id, Held.MAX_FAILURES, Held.ROLLOUT)


async def advance_all(database: Database) -> None:
    """Advance all rollouts: the end of a task instance may be the work of a process of the previous version."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "requests_with_held_tasks")
    for row in rows:
        await _advance_one(database, row["request_id"])


async def advance_of_tasks(database: Database, task_ids: Sequence[int]) -> None:
    """Advance the rollouts of task instances that have ended in transactions which did not."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "tasks_by_id", task_ids=list(task_ids))
    for request_id in sorted({row["request_id"] for row in rows} - {None}):
        await _advance_one(database, request_id)


@retry_contention
async def _advance_one(database: Database, request_id: int) -> None:
    async with database.transaction() as connection:
        await advance(connection, request_id)


async def _start(connection: Connection, request_id: int, step: Step, policy: Rollout) -> None:
    values = {"request_id": request_id, "number": step.start, "canary": policy.canary}
    rows = await fetch(connection, "start_held_tasks", **values)
    task_ids = [row["id"] for row in rows]
    await execute(connection, "start_held_jobs", task_ids=task_ids, held_queue=HELD_QUEUE, queue=QUEUE)
    await _notify(connection, task_ids)


async def _hold(connection: Connection, request_id: int, before: Held, after: Held) -> None:
    rows = await fetch(connection, "hold_tasks_of_request", request_id=request_id, before=before, after=after)
    await _notify(connection, [row["id"] for row in rows])


async def _notify(connection: Connection, task_ids: Sequence[int]) -> None:
    await execute(connection, "notify_task_changes", task_ids=list(task_ids), changed=True)
