"""The list and the document of a request among others: each filter, and only its own hosts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.model.changes import HostChange
from service.model.requests import RequestFilter, RequestStatus
from service.model.states import TaskState
from service.model.types import BY_ID, NEWEST_FIRST, Page
from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Changed, Started
from service.store.database import execute, fetch
from service.tasks import requests
from service.tasks.locked_task import STATE_LINE
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.named_queries import change, read
from tests.integration.sample_tasks import advance, subtask_ids
from tests.integration.users import ADMIN

HOSTS = range(1, 10)
STATES = {  # of a task instance: status, operation, and why it is held
    "running": ("RUNNING", "EXECUTE", None),
    "waiting": ("RUNNING", "EXECUTE", "ROLLOUT"),
    "stopped": ("RUNNING", "EXECUTE", "MAX_FAILURES"),
    "failed": ("FAILED", "EXECUTE", None),
    "successful": ("SUCCESSFUL", "EXECUTE", None),
    "rolled back": ("SUCCESSFUL", "ROLLBACK", None),
}
REQUESTS: list[tuple[RequestStatus, dict[int, str]]] = [  # the status of a request, and the states of its hosts
    (RequestStatus.SUCCESSFUL, {1: "successful", 2: "successful"}),
    (RequestStatus.FAILED, {3: "failed", 4: "successful"}),
    (RequestStatus.FAILED, {5: "failed", 6: "rolled back"}),
    (RequestStatus.ROLLED_BACK, {7: "rolled back", 8: "successful"}),
    (RequestStatus.STOPPED, {2: "failed", 1: "stopped"}),
    (RequestStatus.RUNNING, {3: "waiting", 4: "failed"}),
    (RequestStatus.RUNNING, {5: "running", 6: "stopped"}),
]


@pytest.fixture(autouse=True)
def inventory(inventory_file: Path) -> None:
    """Hosts whose names contain each other's."""
    hosts = "".join(f"    odp-{'x' * n}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}\n" for n in HOSTS)
    inventory_file.write_text(f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{hosts}")


async def submit(resources: Resources, host_ids: Sequence[int], *, check: bool = False) -> list[int]:
    hosts = [HostRequest(host_id=host_id, sql_port=2883) for host_id in host_ids]
    return [task.id for task, _ in await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t", check=check)]


@pytest.fixture
async def ids(resources: Resources) -> list[int]:
    """One request in each situation, and a failed run by hand, which has no request; the ids of the requests."""
    for _, hosts in REQUESTS:
        for task_id, state in zip(await submit(resources, list(hosts)), hosts.values(), strict=True):
            status, operation, held_by = STATES[state]
            await change(
                resources,
                "UPDATE task_instance SET status = %s::task_status, operation = %s::operation, held_by = %s,"
                " finish_time = CASE WHEN %s THEN now() END WHERE id = %s",
                *(status, operation, held_by, status != "RUNNING", task_id),
            )
    (by_hand,) = await submit(resources, [9])
    statement = "UPDATE task_instance SET request_id = NULL, status = 'FAILED', finish_time = now() WHERE id = %s"
    await change(resources, statement, by_hand)
    left = "DELETE FROM request q WHERE NOT EXISTS (SELECT FROM task_instance t WHERE t.request_id = q.id)"
    await change(resources, left)
    return [request.id for request in (await requests.page(resources.database, RequestFilter(order=BY_ID), Page()))[0]]


async def listed(resources: Resources, **criteria: Any) -> list[int]:
    """Return the ids of the requests that match, in both orders and page by page."""
    filter = RequestFilter(**criteria, order=BY_ID)
    found, total = await requests.page(resources.database, filter, Page(size=100))
    numbers = [request.id for request in found]
    assert total == len(numbers)
    newest, _ = await requests.page(resources.database, RequestFilter(**criteria, order=NEWEST_FIRST), Page(size=2))
    assert [request.id for request in newest] == numbers[::-1][:2]
    rest, _ = await requests.page(resources.database, RequestFilter(**criteria), Page(size=2, number=2))
    assert [request.id for request in rest] == numbers[::-1][2:4]
    second, _ = await requests.page(resources.database, filter, Page(size=2, number=2))
    assert [request.id for request in second] == numbers[2:4]
    return numbers


@pytest.mark.parametrize(
    "statuses", [[status] for status in RequestStatus] + [["SUCCESSFUL", "STOPPED"], ["FAILED", "RUNNING"], []], ids=str
)
async def test_requests_are_listed_by_their_status(
    resources: Resources, ids: list[int], statuses: list[RequestStatus]
) -> None:
    wanted = [id for id, (status, _) in zip(ids, REQUESTS, strict=True) if status in statuses]
    assert await listed(resources, statuses=statuses) == wanted
    found, _ = await requests.page(resources.database, RequestFilter(order=BY_ID), Page())
    assert [request.status for request in found] == [status for status, _ in REQUESTS]


async def test_requests_are_listed_by_each_criterion(resources: Resources, ids: list[int]) -> None:
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 8)]
    for number, (id, moment) in enumerate(zip(ids, moments, strict=True)):
        statement = "UPDATE request SET workflow = %s, cluster_name = %s, creator = %s, create_time = %s WHERE id = %s"
        values = ("release" if number < 2 else "takeover", f"Test{number % 3}", f"Ann{number % 4}", moment, id)
        await change(resources, statement, *values)

    assert await listed(resources) == ids
    assert await listed(resources, workflow="release") == ids[:2]
    assert await listed(resources, cluster="TEST1") == [ids[1], ids[4]]
    assert await listed(resources, cluster="est") == ids
    assert await listed(resources, cluster="none") == []
    assert await listed(resources, creator="nn2") == [ids[2], ids[6]]
    assert await listed(resources, creator="ann") == ids
    assert await listed(resources, start_after=moments[2]) == ids[2:]
    assert await listed(resources, start_before=moments[2]) == ids[:2]
    assert await listed(resources, host_id=1) == [ids[0], ids[4]]
    assert await listed(resources, host_name="P-XXXXXXX") == [ids[3]]
    assert await listed(resources, host_name="none") == []
    assert await listed(resources, host_id=1, start_after=moments[1], creator="ann0") == [ids[4]]


async def test_the_document_of_a_request_has_its_own_hosts(resources: Resources) -> None:
    one, other = await submit(resources, [2, 1]), await submit(resources, [3, 4])
    roles = resources.workflows[TAKEOVER].roles
    for _ in range(2):
        ended = "INSERT INTO run VALUES (gen_random_uuid(), %s, 'x', now(), now())"
        await change(resources, ended, other[0])
    made = [HostChange(what="parameter", name="a", before="1", after="2")]
    await Recorder(resources, other[0]).record([Started(role=roles[0]), Changed(role=roles[0], changes=made)])
    await advance(resources, one[0], roles[:2], roles[2], "it broke")
    await advance(resources, one[1], roles[:1], running=roles[1])

    found, _ = await requests.page(resources.database, RequestFilter(order=BY_ID), Page())
    hosts = [await requests.hosts(resources.database, request.id) for request in found]
    shown = [
        [(host.task_id, host.state, host.done, host.subtasks, len(host.changes), bool(host.start_time)) for host in of]
        for of in hosts
    ]
    assert shown == [
        [(one[0], "FAILED", 2, 12, 0, True), (one[1], "RUNNING", 1, 12, 0, True)],
        [(other[0], "QUEUED", 0, 12, 1, True), (other[1], "QUEUED", 0, 12, 0, False)],
    ]
    names = {subtask.role: subtask.name for subtask in resources.workflows[TAKEOVER].subtasks}
    assert [(host.subtask, host.reason, host.findings) for host in hosts[0]] == [
        (names[roles[2]], "TASK_FAILED: it broke", []),
        (names[roles[1]], "", []),
    ]
    assert [request.counts[TaskState.RUNNING] for request in found] == [1, 0]
    assert [request.counts[TaskState.QUEUED] for request in found] == [0, 2]
    assert [bool(request.last_end) for request in found] == [True, False]
    assert [host.task_id for host in await requests.hosts(resources.database, found[0].id, [one[1]])] == [one[1]]
    assert await requests.hosts(resources.database, found[0].id, other) == []


async def test_a_host_has_its_current_subtask_and_a_check_its_findings(resources: Resources) -> None:
    one, other = await submit(resources, [1, 2], check=True)
    first, second, third, fourth, *_ = await subtask_ids(resources, one)
    of_other, *_ = await subtask_ids(resources, other)
    log = [(first, "an earlier one"), (first, "a"), (first, f"{STATE_LINE}{first}"), (second, "b"), (of_other, "c")]
    ids, texts = [subtask for subtask, _ in log], [text for _, text in log]
    async with resources.database.transaction() as connection:
        times = [1] * len(log)
        await execute(connection, "insert_subtask_logs", subtask_ids=ids, run_times=times, contents=texts)

    async def shown(statuses: Mapping[int, str]) -> list[tuple[str, str, list[str]]]:
        for subtask, status in statuses.items():
            await change(resources, "UPDATE subtask_instance SET status = %s WHERE id = %s", status, subtask)
        hosts = await requests.hosts(resources.database, 1)
        return [(host.subtask, host.reason, [finding.message for finding in host.findings]) for host in hosts]

    names = [subtask.name for subtask in resources.workflows[TAKEOVER].subtasks]
    failed = {second: "FAILED", first: "FAILED"}
    assert await shown(failed) == [(names[0], "a", ["a", "b"]), ("", "", [])]
    running = {third: "RUNNING", fourth: "CANCELING", of_other: "FAILED"}
    assert await shown(running) == [(names[2], "", ["a", "b"]), (names[0], "c", ["c"])]


async def test_checks_of_a_request_pass_for_a_day(resources: Resources) -> None:
    passed = await submit(resources, [2, 1], check=True)
    skipped, failed, superseded, old, takeover = await submit(resources, [3, 4, 5, 6, 7], check=True)
    other = await submit(resources, [8], check=True)
    await change(resources, "UPDATE task_instance SET status = 'SUCCESSFUL', finish_time = now() - interval '23 hours'")
    await change(resources, "UPDATE task_instance SET request_id = 1, position = position + 2 WHERE request_id = 2")
    for statement, task_id in (
        ("UPDATE subtask_instance SET operation = 'SKIP' WHERE task_instance_id = %s", skipped),
        ("UPDATE task_instance SET status = 'FAILED' WHERE id = %s", failed),
        ("UPDATE task_instance SET superseded_by = id + 1 WHERE id = %s", superseded),
        ("UPDATE task_instance SET finish_time = now() - interval '25 hours' WHERE id = %s", old),
        ("UPDATE task_instance SET context = context #- '{stringMap,check_mode}' WHERE id = %s", takeover),
    ):
        await change(resources, statement, task_id)

    found = [await read(resources, "passed_checks_of_request", request_id=request_id) for request_id in (1, 3)]

    assert [[row["id"] for row in checks] for checks in found] == [passed, other]


async def test_the_changes_of_a_request_are_those_of_its_hosts(resources: Resources) -> None:
    one, two, other = *await submit(resources, [1, 2]), *await submit(resources, [3])
    for task_id in (two, one, other):
        first, second, *_ = await subtask_ids(resources, task_id)
        for subtask, name in ((second, "b"), (first, "a")):
            statement = "UPDATE subtask_instance SET changes = jsonb_build_array(%s::text) WHERE id = %s"
            await change(resources, statement, f"{task_id} {name}", subtask)

    async def changes(task_ids: list[int] | None) -> list[str]:
        found = await read(resources, "changes_of_request", request_id=1, task_ids=task_ids)
        return [name for row in found for name in row["changes"]]

    assert await changes(None) == [f"{one} a", f"{one} b", f"{two} a", f"{two} b"]
    assert await changes([two, other]) == [f"{two} a", f"{two} b"]


async def test_the_end_of_a_request_is_announced_once(resources: Resources) -> None:
    await submit(resources, [1])
    await submit(resources, [2])

    one, two = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)

    async def claimed(request_id: int, end: datetime) -> list[int]:
        async with resources.database.transaction() as connection:
            rows = await fetch(connection, "claim_request_announcement", request_id=request_id, end=end)
        return [row["id"] for row in rows]

    assert [await claimed(1, end) for end in (one, one, two)] == [[1], [], [1]]
    assert await claimed(2, two) == [2]


async def test_the_change_numbers_of_a_request_are_those_of_its_hosts(resources: Resources) -> None:
    tasks, other = await submit(resources, [1, 2]), await submit(resources, [3])

    async def numbers(request_id: int) -> dict[int, int]:
        async with resources.database.autocommit() as connection:
            rows = await fetch(connection, "versions_of_request", request_id=request_id)
        assert len(rows) == len({row["id"] for row in rows})
        return {row["id"]: row["number"] for row in rows}

    before = await numbers(1)
    assert before.keys() == set(tasks) and (await numbers(2)).keys() == set(other)
    await advance(resources, tasks[1], resources.workflows[TAKEOVER].roles[:1])
    after = await numbers(1)
    assert after[tasks[0]] == before[tasks[0]] and after[tasks[1]] > before[tasks[1]]


async def test_the_versions_of_a_request_have_the_states_of_its_hosts(resources: Resources) -> None:
    waits, runs, has_run, check = await submit(resources, [1, 2, 3, 4])
    for task_id, has_ended in ((runs, False), (has_run, True)):
        statement = "INSERT INTO run VALUES (gen_random_uuid(), %s, 'x', now(), CASE WHEN %s THEN now() END)"
        await change(resources, statement, task_id, has_ended)
    mark = "UPDATE task_instance SET context = jsonb_set(context, '{stringMap,check_mode}', '\"true\"') WHERE id = %s"
    await change(resources, mark, check)

    async def states(full: Sequence[int]) -> list[str]:
        found = await requests.versions(resources.database, 1, full)
        return [found[task_id][1] for task_id in (waits, runs, has_run, check)]

    assert await states([]) == ["QUEUED", "RUNNING", "QUEUED", "QUEUED"]
    assert await states([1]) == ["WAITING_FOR_HOST", "RUNNING", "WAITING_FOR_HOST", "QUEUED"]


async def test_only_a_job_that_waits_and_has_no_run_is_removed(resources: Resources) -> None:
    waits, runs, survives, other = await submit(resources, [1, 2, 3, 4])
    await change(
        resources, "UPDATE procrastinate_jobs SET status = 'doing' WHERE args ->> 'task_instance_id' = %s", str(runs)
    )
    for task_id, has_ended in ((survives, False), (waits, True)):
        statement = "INSERT INTO run VALUES (gen_random_uuid(), %s, 'x', now(), CASE WHEN %s THEN now() END)"
        await change(resources, statement, task_id, has_ended)
    async with resources.database.transaction() as connection:
        removed = [
            len(await fetch(connection, "remove_waiting_job", task_id=task_id)) for task_id in (waits, runs, survives)
        ]
        cursor = await connection.execute("SELECT args FROM procrastinate_jobs")
        left = {row["args"]["task_instance_id"] for row in await cursor.fetchall()}
    assert (removed, left) == ([1, 0, 0], {runs, survives, other})
