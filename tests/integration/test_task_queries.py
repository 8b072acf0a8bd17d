"""Task instances among others: each filter of the list, and writes and reads of one of two."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from service.model.tasks import Held, TaskFilter, TaskStatus
from service.model.types import BY_ID, NEWEST_FIRST, Order, Page
from service.store.database import fetch
from service.tasks import instances
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.named_queries import change, read, rows, write
from tests.integration.sample_tasks import subtask_ids
from tests.integration.users import ADMIN

MOMENTS = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 6)]


async def submit(resources: Resources, *host_ids: int) -> list[int]:
    hosts = [HostRequest(host_id=host_id, sql_port=2883) for host_id in host_ids]
    return [task.id for task, _ in await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t")]


async def end(resources: Resources, task_id: int, status: str = "FAILED") -> None:
    await change(resources, "UPDATE task_instance SET status = %s, finish_time = now() WHERE id = %s", status, task_id)


@pytest.fixture
async def tasks(resources: Resources) -> list[int]:
    """Five task instances: two have ended, one of them by a rollback and one superseded; two of the others are held."""
    ids: list[int] = []
    for host_id in (1, 2, 2, 1, 3):
        ids += await submit(resources, host_id)
        if len(ids) < 3:
            await end(resources, ids[-1], "SUCCESSFUL" if len(ids) == 1 else "FAILED")
        await change(resources, "UPDATE obproxy_server SET status = 'TAKINGOVER'")
    await change(resources, "UPDATE task_instance SET operation = 'ROLLBACK', type = 'EXTERNAL' WHERE id = %s", ids[0])
    await change(resources, "UPDATE task_instance SET superseded_by = NULL WHERE id = %s", ids[0])
    for task_id, reason in zip(ids[2:4], Held, strict=True):
        await change(resources, "UPDATE task_instance SET held_by = %s WHERE id = %s", reason, task_id)
    for number, (task_id, moment) in enumerate(zip(ids, MOMENTS, strict=True)):
        await change(
            resources,
            "UPDATE task_instance SET name = %s, creator = %s, start_time = %s,"
            " context = jsonb_set(context, '{stringMap,obproxy_cluster_name}', to_jsonb(%s::text)) WHERE id = %s",
            *(f"Install{number // 2}", f"Ann{number % 2}", moment, f"Test{number % 3}", task_id),
        )
    return ids


async def listed(resources: Resources, order: Order = BY_ID, **criteria: Any) -> list[int]:
    """Return the ids of the task instances that match; the pages of two have the same."""
    found, total = await instances.page(resources.database, TaskFilter(**criteria, order=order), Page(size=100))
    ids = [task.id for task, _ in found]
    assert total == len(ids)
    for number in (1, 2):
        part, _ = await instances.page(
            resources.database, TaskFilter(**criteria, order=order), Page(size=2, number=number)
        )
        assert [task.id for task, _ in part] == ids[2 * number - 2 : 2 * number]
    return ids


async def test_task_instances_are_listed_by_each_criterion(resources: Resources, tasks: list[int]) -> None:
    one, two, three, four, five = tasks
    expected: Sequence[tuple[dict[str, Any], list[int]]] = [
        ({}, tasks),
        ({"name": "INSTALL1"}, [three, four]),
        ({"name": "none"}, []),
        ({"statuses": [TaskStatus.FAILED, TaskStatus.SUCCESSFUL]}, [one, two]),
        ({"statuses": []}, []),
        ({"type": "EXTERNAL"}, [one]),
        ({"host_id": 2}, [two, three]),
        ({"host_name": "P-1"}, [one, four]),
        ({"cluster": "test1"}, [two, five]),
        ({"creator": "nn1"}, [two, four]),
        ({"start_after": MOMENTS[3]}, [four, five]),
        ({"start_before": MOMENTS[3]}, [one, two, three]),
        ({"superseded": True}, [two]),
        ({"superseded": False}, [one, three, four, five]),
        ({"held": True}, [three, four]),
        ({"held": False}, [one, two, five]),
        ({"held_by": Held.MAX_FAILURES}, [four]),
        ({"rolled_back": True}, [one]),
        ({"rolled_back": False}, [two, three, four, five]),
        ({"ids": [five, one]}, [one, five]),
        ({"host_id": 1, "held": True, "creator": "ann"}, [four]),
    ]
    for criteria, ids in expected:
        assert await listed(resources, **criteria) == ids, criteria
    assert await listed(resources, NEWEST_FIRST) == tasks[::-1]
    assert await listed(resources, Order(field="name")) == [two, one, four, three, five]
    assert await listed(resources, Order(field="name", descending=True)) == [five, three, four, one, two]


async def test_task_instances_and_their_runs_are_found_by_id_and_state(resources: Resources, tasks: list[int]) -> None:
    await write(resources, "insert_run", ident="00000000-0000-0000-0000-000000000001", task_id=tasks[4], executor="x")
    await write(resources, "finish_runs_of_task", task_id=tasks[4])
    await write(resources, "insert_run", ident="00000000-0000-0000-0000-000000000002", task_id=tasks[2], executor="x")

    found = await read(resources, "tasks_by_id", task_ids=[tasks[4], tasks[2], tasks[0]])
    assert [(row["id"], row["has_run"]) for row in found] == [(tasks[0], False), (tasks[2], True), (tasks[4], False)]
    await write(resources, "insert_run", ident="00000000-0000-0000-0000-000000000003", task_id=tasks[3], executor="x")
    assert [row["id"] for row in await read(resources, "tasks_with_run")] == [tasks[2], tasks[3]]
    assert [row["id"] for row in await read(resources, "task_by_id", task_id=tasks[1])] == [tasks[1]]
    assert [row["id"] for row in await read(resources, "running_tasks", host_ids=[2, 1])] == [tasks[3], tasks[2]]
    assert [row["id"] for row in await read(resources, "tasks_superseded_by", task_ids=[tasks[2]])] == [tasks[1]]

    await change(resources, "UPDATE task_instance SET held_by = NULL WHERE id = %s", tasks[2])
    started = await read(resources, "started_tasks")
    assert [(row["id"], row["has_run"]) for row in started] == [(tasks[2], True), (tasks[4], False)]


async def test_hosts_with_a_change_since_a_moment_are_found(resources: Resources, tasks: list[int]) -> None:
    async def now() -> datetime:
        (row,) = await read(resources, "database_time")
        moment: datetime = row["moment"]
        return moment

    async def hosts(since: datetime) -> list[int]:
        return sorted(row["host_id"] for row in await read(resources, "hosts_with_task_change_since", moment=since))

    before = await now()
    assert await hosts(before - timedelta(hours=1)) == [1, 2, 3]
    assert await hosts(before) == []
    await write(resources, "notify_task_changes", task_ids=[tasks[1]], changed=True)
    assert await hosts(before) == [], "it had ended"
    await change(resources, "UPDATE task_instance SET finish_time = %s WHERE id = %s", before, tasks[1])
    assert await hosts(before) == [2]
    await write(resources, "notify_task_changes", task_ids=[tasks[4]], changed=True)
    assert await hosts(before) == [2, 3]
    assert await hosts(await now()) == []


async def test_a_restart_is_requested_by_a_started_takeover_of_the_cluster(
    resources: Resources, tasks: list[int]
) -> None:
    async def requested(cluster_id: int = 1) -> bool:
        (row,) = await read(resources, "restart_requested_in_cluster", cluster_id=cluster_id)
        return bool(row["requested"])

    async def set_option(task_id: int, name: str, value: str) -> None:
        path = f"{{stringMap,{name}}}"
        statement = "UPDATE task_instance SET context = jsonb_set(context, %s, to_jsonb(%s::text)) WHERE id = %s"
        await change(resources, statement, path, value, task_id)

    assert not await requested()
    for ended_or_held in tasks[:4]:
        await set_option(ended_or_held, "obproxy_allow_restart", "true")
    assert not await requested()
    await set_option(tasks[4], "obproxy_allow_restart", "true")
    assert await requested() and not await requested(7)
    await set_option(tasks[4], "check_mode", "true")
    assert not await requested()


async def test_a_task_instance_waits_for_another_one_on_its_host(resources: Resources) -> None:
    first, second, other = await submit(resources, 1, 2, 3)
    locks = "UPDATE procrastinate_jobs SET lock = %s WHERE args ->> 'task_instance_id' = %s"
    for task_id, lock in ((first, "a"), (second, "a"), (other, "b")):
        await change(resources, locks, lock, str(task_id))
    state = "UPDATE procrastinate_jobs SET status = 'doing' WHERE args ->> 'task_instance_id' = %s"

    async def blocked() -> tuple[list[tuple[int, int]], list[int]]:
        found = await read(resources, "blocking_tasks", task_ids=[first, second, other])
        of_requests = await read(resources, "blocked_tasks_of_requests", request_ids=[1])
        assert await read(resources, "blocked_tasks_of_requests", request_ids=[2]) == []
        return [(row["id"], row["blocked_id"]) for row in found], [row["id"] for row in of_requests]

    assert await blocked() == ([], [])
    await change(resources, state, str(other))
    assert await blocked() == ([], [])
    await change(resources, state, str(first))
    assert await blocked() == ([(first, second)], [second])
    assert await read(resources, "blocking_tasks", task_ids=[other]) == []
    await change(
        resources,
        "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)"
        " SELECT queue_name, task_name, lock, args FROM procrastinate_jobs WHERE status = 'todo'",
    )
    assert await blocked() == ([(first, second)] * 2, [second]), "once"
    await change(
        resources, "UPDATE procrastinate_jobs SET args = '{}' WHERE args ->> 'task_instance_id' = %s", str(first)
    )
    assert await blocked() == ([], []), "a discovery of the host is no task instance"


async def test_the_running_job_of_a_task_instance_is_its_own(resources: Resources) -> None:
    task_ids = await submit(resources, 1, 2, 3)
    state = "UPDATE procrastinate_jobs SET status = 'doing' WHERE args ->> 'task_instance_id' = %s"
    for task_id in task_ids[:2]:
        await change(resources, state, str(task_id))
    found = [await read(resources, "running_job_of_task", task_id=task_id) for task_id in task_ids]
    assert [len(jobs) for jobs in found] == [1, 1, 0] and found[0] != found[1]


async def test_the_log_of_a_subtask_is_its_own(resources: Resources) -> None:
    task_id, other = await submit(resources, 1, 2)
    (one, two, *_), others = await subtask_ids(resources, task_id), await subtask_ids(resources, other)
    execute, retry = (
        f"############{{{name}}}{{2026-01-01T00:00:00+00:00}}############" for name in ("EXECUTE", "RETRY")
    )
    state = "Set state for subtask: 1, done"
    lines = [execute, "a", retry, "b", state]
    subtasks = [one, two] * len(lines) + [others[0]]
    contents = [line for line in lines for _ in range(2)] + ["of the other one"]
    await write(
        resources, "insert_subtask_logs", subtask_ids=subtasks, run_times=[1] * len(subtasks), contents=contents
    )
    ids = [row["id"] for row in await rows(resources, "subtask_log") if row["subtask_id"] == one]

    async def contents_of(query: str, **values: Any) -> list[str]:
        return [row["content"] for row in await read(resources, query, **values)]

    assert await contents_of("log_rows_after", subtask_id=one, after=0) == lines
    assert await contents_of("log_rows_after", subtask_id=one, after=ids[1]) == lines[2:]
    between = {"subtask_id": one, "after": ids[0]}
    assert await contents_of("log_rows_between", **between, until=ids[3], limit=9) == lines[1:3]
    assert await contents_of("log_rows_between", **between, until=None, limit=9) == lines[1:]
    assert await contents_of("log_rows_between", **between, until=None, limit=1) == lines[1:2]
    assert await contents_of("log_separators_of_subtask", subtask_id=one) == [execute, retry]
    assert await contents_of("last_log_message_of_subtask", subtask_id=one) == ["b"]
    whole = await read(resources, "log_rows_of_task", task_id=task_id)
    assert [(row["subtask_id"], row["content"]) for row in whole] == [(id, line) for id in (one, two) for line in lines]
    found = await read(resources, "subtask_in_task", subtask_id=one, task_id=task_id)
    assert [row["id"] for row in found] == [one]
    assert await read(resources, "subtask_in_task", subtask_id=one, task_id=other) == []


async def test_subtasks_are_read_in_order_with_their_neighbours(resources: Resources) -> None:
    task_id, other = await submit(resources, 2, 1)
    ids = [await subtask_ids(resources, task) for task in (task_id, other)]
    whole = await read(resources, "subtasks_of_tasks", task_ids=[other, task_id])
    assert [row["id"] for row in whole] == [*ids[0], *ids[1]] and task_id < other
    assert sorted(ids[0] + ids[1]) == [*ids[1], *ids[0]], "each task instance has a range, in the order of hosts"
    for chain, found in ((ids[0], whole[: len(ids[0])]), (ids[1], whole[len(ids[0]) :])):
        assert [row["upstreams"] for row in found] == [[], *([id] for id in chain[:-1])]
        assert [row["downstreams"] for row in found] == [*([id] for id in chain[1:]), []]
        assert [row["status"] for row in found] == ["READY", *["PENDING"] * (len(chain) - 1)]
    for of, expected in (([other], ids[1]), ([other, task_id], ids[0] + ids[1])):
        basic = await read(resources, "basic_subtasks_of_tasks", task_ids=of)
        assert [row["id"] for row in basic] == expected
    await write(resources, "skip_subtasks_of_tasks", task_ids=[other])
    skipped = {
        row["task_instance_id"] for row in await rows(resources, "subtask_instance") if row["operation"] == "SKIP"
    }
    assert skipped == {other}


async def test_several_neighbours_of_a_subtask_are_in_order(resources: Resources) -> None:
    (task_id,) = await submit(resources, 1)
    one, two, three, *_ = await subtask_ids(resources, task_id)
    await change(resources, "DELETE FROM subtask_dependency WHERE upstream_id = %s OR downstream_id = %s", two, two)
    for upstream, downstream in ((two, three), (one, three), (one, two)):
        await change(resources, "INSERT INTO subtask_dependency VALUES (%s, %s)", upstream, downstream)
    first, _, third, *_ = await read(resources, "subtasks_of_tasks", task_ids=[task_id])
    assert (first["downstreams"], third["upstreams"]) == ([two, three], [one, two])


async def test_changes_on_the_host_are_appended_up_to_a_limit(resources: Resources) -> None:
    (task_id,) = await submit(resources, 1)
    one, two, *_ = await subtask_ids(resources, task_id)
    for name in ("a", "b", "c"):
        await write(resources, "append_subtask_changes", subtask_id=one, new=Jsonb([name]), limit=2)
    found = {row["id"]: row["changes"] for row in await rows(resources, "subtask_instance")}
    assert (found[one], found[two]) == (["a", "b"], None)


async def test_only_the_task_instance_itself_ends_and_resumes(resources: Resources) -> None:
    task_id, other = await submit(resources, 1, 2)

    async def states() -> list[tuple[str, str, str | None, bool | None]]:
        found = await rows(resources, "task_instance")
        return [(row["status"], row["operation"], row["held_by"], row["failure_accepted"]) for row in found]

    await write(resources, "resume_task", task_id=task_id, operation="RETRY", held_by=None)
    running = ("RUNNING", "EXECUTE", None, None)
    assert await states() == [running, running], "it has not failed"
    await write(resources, "finish_task", task_id=task_id, status="FAILED", moment=MOMENTS[0])
    await write(resources, "finish_task", task_id=task_id, status="SUCCESSFUL", moment=None)
    assert await states() == [("FAILED", "EXECUTE", None, None), running]
    await end(resources, other)
    await write(resources, "resume_task", task_id=task_id, operation="RETRY", held_by=None)
    failed = ("FAILED", "EXECUTE", None, None)
    assert await states() == [("RUNNING", "RETRY", None, None), failed]
    await end(resources, task_id)
    await write(resources, "resume_task", task_id=task_id, operation="ROLLBACK", held_by="ROLLOUT")
    assert await states() == [("RUNNING", "ROLLBACK", "ROLLOUT", True), failed]


async def test_an_idempotency_key_belongs_to_its_creator_for_a_day(resources: Resources) -> None:
    async def claim(creator: str, key: str, fingerprint: bytes) -> bool:
        values = {"creator": creator, "key": key, "fingerprint": fingerprint}
        return bool(await read(resources, "claim_idempotency_key", **values))

    async def known(creator: str, key: str) -> tuple[bytes, list[int]]:
        (row,) = await read(resources, "idempotency_key", creator=creator, key=key)
        return bytes(row["fingerprint"]), row["task_ids"]

    names = [("ann", "one"), ("ann", "two"), ("bob", "one")]
    for number, (creator, key) in enumerate(names, 1):
        assert await claim(creator, key, b"first")
        await write(resources, "set_idempotency_key_tasks", creator=creator, key=key, task_ids=[number])
    assert [await known(*name) for name in names] == [(b"first", [number]) for number in (1, 2, 3)]
    assert not await claim("ann", "one", b"second")
    old = "UPDATE idempotency_key SET create_time = now() - interval '24 hours' WHERE creator = 'ann' AND key = 'one'"
    await change(resources, old)
    assert await claim("ann", "one", b"second")
    assert [await known(*name) for name in names] == [(b"second", []), (b"first", [2]), (b"first", [3])]


async def test_a_lock_is_on_the_task_instance_and_its_server(resources: Resources) -> None:
    task_id, _ = await submit(resources, 1, 2)
    async with resources.database.transaction() as holder, resources.database.transaction() as connection:
        locked = await fetch(holder, "lock_task", task_id=task_id)
        assert [row["id"] for row in locked] == [task_id]
        for table in ("obproxy_server", "task_instance"):
            free = SQL("SELECT host_id FROM {} FOR UPDATE SKIP LOCKED").format(Identifier(table))
            assert await (await connection.execute(free)).fetchall() == [{"host_id": 2}]


async def test_a_check_is_superseded_by_the_next_task_instance_for_its_port(resources: Resources) -> None:
    async def insert(host_id: int, sql_port: int = 2883, *, check: bool = True) -> int:
        hosts = [HostRequest(host_id=host_id, sql_port=sql_port)]
        ((task, _),) = await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t", check=check)
        await end(resources, task.id)
        return task.id

    async def superseded(*successors: int) -> dict[int, int]:
        await write(resources, "supersede_checks", task_ids=list(successors))
        found = {row["id"]: row["superseded_by"] for row in await rows(resources, "task_instance")}
        await change(resources, "UPDATE task_instance SET superseded_by = NULL")
        return {id: successor for id, successor in found.items() if successor}

    other_port, _, check = await insert(1, 2884), await insert(2), await insert(1)
    takeover, last, of_other_port = await insert(1, check=False), await insert(1), await insert(1, 2884, check=False)
    await change(resources, "UPDATE task_instance SET superseded_by = NULL")
    assert await superseded(takeover) == {check: takeover}
    assert await superseded(last) == {check: last}, "a takeover is no check"
    assert await superseded(of_other_port) == {other_port: of_other_port}
    await change(resources, "UPDATE task_instance SET superseded_by = %s WHERE id = %s", takeover, check)
    assert await superseded(last) == {check: takeover}, "it has a successor"
    await change(resources, "UPDATE task_instance SET status = 'RUNNING', finish_time = NULL WHERE id = %s", check)
    assert await superseded(takeover) == {}, "it runs"


async def test_secrets_are_copied_and_deleted_by_their_task_instance(resources: Resources) -> None:
    one, two, three = await submit(resources, 1, 2, 3)
    for task_id in (one, two):
        named = {"task_ids": [task_id], "names": [str(task_id)], "ciphertexts": [b"x"]}
        await write(resources, "insert_task_secrets", **named)

    async def names() -> list[tuple[int, str]]:
        return [(row["task_instance_id"], row["name"]) for row in await rows(resources, "task_secret", "name")]

    await write(resources, "copy_task_secrets", old=[two], new=[three])
    assert sorted(await names()) == [(one, str(one)), (two, str(two)), (three, str(two))]
    await write(resources, "delete_task_secrets", task_id=two)
    assert sorted(await names()) == [(one, str(one)), (three, str(two))]


async def test_a_run_by_hand_starts_at_the_positions_of_its_own_subtasks(resources: Resources) -> None:
    task_id, other = await submit(resources, 1, 2)
    await write(resources, "mark_task_external", task_id=task_id, operation="ROLLBACK", start_time=MOMENTS[0])
    types = {row["id"]: row["type"] for row in await rows(resources, "task_instance")}
    assert types == {task_id: "EXTERNAL", other: "MANUAL"}

    subtasks = await rows(resources, "subtask_instance")
    first, second = [row["role"] for row in subtasks if row["task_instance_id"] == task_id][:2]
    positions = {"roles": [first, second], "statuses": ["SUCCESSFUL", "FAILED"], "operations": ["SKIP", "RETRY"]}
    await write(resources, "set_subtask_positions", task_id=task_id, **positions)
    expected = {(task_id, first): ("SUCCESSFUL", "SKIP"), (task_id, second): ("FAILED", "RETRY")}
    for before, after in zip(subtasks, await rows(resources, "subtask_instance"), strict=True):
        position = expected.get((after["task_instance_id"], after["role"]), (before["status"], before["operation"]))
        assert (after["status"], after["operation"]) == position


async def test_each_transition_sets_its_own_times(resources: Resources) -> None:
    task_id, _ = await submit(resources, 1, 2)
    one, *_ = await subtask_ids(resources, task_id)
    names = ("status", "executor", "start_time", "finish_time", "running_since", "spent")

    async def moved(before: str, after: str, moment: datetime | None, operation: str = "EXECUTE") -> tuple[Any, ...]:
        values = {"from_status": before, "from_operation": operation, "executor": f"of {after}", "moment": moment}
        former = await rows(resources, "subtask_instance")
        await write(
            resources, "transition_subtask", subtask_id=one, status=after, operation="EXECUTE", runs=0, **values
        )
        found = await rows(resources, "subtask_instance")
        assert [row for row in found if row["id"] != one] == [row for row in former if row["id"] != one]
        (row,) = [row for row in found if row["id"] == one]
        return tuple(row[name] for name in names)

    first, second, third, fourth, last = MOMENTS
    executor = "of RUNNING"
    assert await moved("READY", "READY", first) == ("READY", None, None, None, None, 0)
    assert await moved("READY", "RUNNING", first) == ("RUNNING", executor, first, None, first, 0)
    assert await moved("READY", "RUNNING", second) == ("RUNNING", executor, first, None, first, 0), "it is not READY"
    assert await moved("RUNNING", "FAILED", second, "RETRY") == ("RUNNING", executor, first, None, first, 0)
    await change(resources, "UPDATE subtask_instance SET running_since = now() - interval '1 hour' WHERE id = %s", one)
    *ready, spent = await moved("RUNNING", "READY", second)
    assert ready == ["READY", executor, first, None, None] and 3600 <= spent < 7200
    assert (await moved("READY", "READY", second))[-1] == 0
    await change(resources, "UPDATE subtask_instance SET spent = 5 WHERE id = %s", one)
    assert await moved("READY", "RUNNING", third) == ("RUNNING", executor, first, None, third, 5)
    assert await moved("RUNNING", "CANCELING", fourth) == ("CANCELING", executor, first, None, third, 5)
    assert await moved("CANCELING", "FAILED", fourth) == ("FAILED", executor, first, fourth, None, 0)
    assert await moved("FAILED", "READY", last) == ("READY", executor, first, fourth, None, 0)
    assert await moved("READY", "RUNNING", last) == ("RUNNING", executor, first, None, last, 0)
    assert await moved("RUNNING", "SUCCESSFUL", last) == ("SUCCESSFUL", executor, first, last, None, 0)
