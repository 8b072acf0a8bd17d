"""The recorder writes the report of a run in one transaction: states, log, OBProxy server, notification."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import datetime

import psycopg
import pytest

from service.model.changes import HostChange, RecordedChange, changes_of
from service.model.tasks import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.outcome.host_changes import MAX_CHANGES
from service.outcome.run_progress import Change, Changed, Ended, Logged, RunEnd, ServerFacts, Started, Verdict
from service.store.database import Connection, execute, fetch
from service.tasks import instances, operations
from service.tasks.errors import IllegalTransition
from service.tasks.locked_task import CHANGES_LIMIT
from service.tasks.recorder import LeaseLost, Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.users import ADMIN

DEADLINE = 60.0


def succeeded(role: str, message: str = "") -> Ended:
    return Ended(role=role, verdict=Verdict.SUCCESSFUL, code="", message=message)


def failed(role: str) -> Ended:
    return Ended(role=role, verdict=Verdict.FAILED, code="TASK_FAILED", message="two proxies")


@pytest.fixture
async def submitted(resources: Resources) -> tuple[TaskInstance, list[Subtask]]:
    return (await take_over(resources, 1, [HostRequest(host_id=1, sql_port=2883)], creator=ADMIN, trace_id="t"))[0]


@pytest.fixture
def recorder(resources: Resources, submitted: tuple[TaskInstance, list[Subtask]]) -> Recorder:
    return Recorder(replace(resources, executor="192.0.2.1"), submitted[0].id)


async def state(resources: Resources, task: TaskInstance) -> tuple[TaskInstance, list[SubtaskStatus]]:
    found, subtasks = await instances.get(resources.database, task.id)
    return found, [subtask.status for subtask in subtasks]


async def test_a_run_fills_the_document(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], recorder: Recorder
) -> None:
    task, subtasks = submitted
    first, second = subtasks[0], subtasks[1]

    await recorder.record([Started(role=first.role), Logged(role=first.role, text="TASK [look]")])
    found, statuses = await state(resources, task)
    assert statuses[:2] == [SubtaskStatus.RUNNING, SubtaskStatus.PENDING]

    await recorder.record([succeeded(first.role), Started(role=second.role)])
    found, statuses = await state(resources, task)
    assert statuses[:3] == [SubtaskStatus.SUCCESSFUL, SubtaskStatus.RUNNING, SubtaskStatus.PENDING]
    assert found.status is TaskStatus.RUNNING

    log, _ = await instances.log(resources.database, task.id, first.id)
    opening, said, closing = log.split("\n")
    assert opening.startswith("############{EXECUTE}{2") and opening.endswith("}############")
    assert said == "TASK [look]"
    assert closing == f"Set state for subtask: {first.id}, operation: EXECUTE, state: SUCCESSFUL"


async def test_success_of_all_makes_the_server_managed_and_deletes_the_secrets(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], recorder: Recorder
) -> None:
    task, subtasks = submitted
    for subtask in subtasks:
        await recorder.record([Started(role=subtask.role)])
        learned = ServerFacts(role=subtask.role, values={"version": "4.3.1.0-1", "pid": 7, "exporter_port": 2884})
        await recorder.record([learned, succeeded(subtask.role)])

    found, statuses = await state(resources, task)
    assert found.status is TaskStatus.SUCCESSFUL and found.finish_time
    assert set(statuses) == {SubtaskStatus.SUCCESSFUL}
    async with resources.database.transaction() as connection:
        (server,) = await fetch(connection, "server_by_id", server_id=task.obproxy_server_id)
        assert not await fetch(connection, "secrets_of_task", task_id=task.id)
    assert (server["status"], server["operate_status"]) == ("RUNNING", "NORMAL")
    assert (server["version"], server["exporter_port"], server["learned"]["pid"]) == ("4.3.1.0-1", 2884, 7)


async def test_a_failure_ends_the_task_and_leaves_the_rest_pending(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], recorder: Recorder
) -> None:
    task, subtasks = submitted
    await recorder.record([Started(role=subtasks[0].role), failed(subtasks[0].role)])

    found, statuses = await state(resources, task)
    assert found.status is TaskStatus.FAILED and found.finish_time
    assert statuses == [SubtaskStatus.FAILED] + [SubtaskStatus.PENDING] * 11
    log, _ = await instances.log(resources.database, task.id, subtasks[0].id)
    assert "TASK_FAILED: two proxies" in log
    async with resources.database.transaction() as connection:
        (server,) = await fetch(connection, "server_by_id", server_id=task.obproxy_server_id)
    assert server["status"] == "TAKINGOVER"


async def test_a_run_that_never_reached_its_first_role_fails_it(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], recorder: Recorder
) -> None:
    task, subtasks = submitted
    await recorder.record([failed(subtasks[0].role)])
    assert (await state(resources, task))[1][0] is SubtaskStatus.FAILED


@pytest.mark.parametrize(
    "illegal",
    [
        lambda roles: [succeeded(roles[0])],
        lambda roles: [Started(role=roles[1])],
        lambda roles: [Started(role=roles[0]), Started(role=roles[0])],
        lambda roles: [Started(role=roles[0]), failed(roles[0]), succeeded(roles[0])],
    ],
)
async def test_illegal_transitions_change_nothing(
    resources: Resources,
    submitted: tuple[TaskInstance, list[Subtask]],
    recorder: Recorder,
    illegal: Callable[[list[str]], list[Change]],
) -> None:
    task, subtasks = submitted
    before = await instances.get(resources.database, task.id)
    changes = illegal([subtask.role for subtask in subtasks])

    with pytest.raises(IllegalTransition, match=f"Subtask {subtasks[0].id}|Subtask {subtasks[1].id}"):
        await recorder.record(changes)

    assert await instances.get(resources.database, task.id) == before
    assert (await instances.log(resources.database, task.id, subtasks[0].id))[0] == ""
    await recorder.record([Started(role=subtasks[0].role)])  # and the recorder can go on from where it was


async def test_listeners_are_notified_of_every_batch_after_its_commit(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], recorder: Recorder, database_url: str
) -> None:
    task, subtasks = submitted
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute("LISTEN takeover_task")
        await recorder.record([Started(role=subtasks[0].role)])
        async with asyncio.timeout(DEADLINE):
            async for heard in listener.notifies():
                assert json.loads(heard.payload) == task.id
                break
    assert (await state(resources, task))[1][0] is SubtaskStatus.RUNNING


async def test_the_schema_rejects_two_live_runs_of_one_task(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]]
) -> None:
    task, _ = submitted
    insert = "INSERT INTO run (ident, task_instance_id, executor) VALUES (gen_random_uuid(), %s, 'x')"
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with resources.database.transaction() as connection:
            await connection.execute(insert, (task.id,))
            await connection.execute(insert, (task.id,))


IDENT = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
async def reporter(resources: Resources, submitted: tuple[TaskInstance, list[Subtask]]) -> Recorder:
    """Insert a run; return its recorder."""
    async with resources.database.transaction() as connection:
        await execute(connection, "insert_run", ident=IDENT, task_id=submitted[0].id, executor="x")
    return Recorder(resources, submitted[0].id, run=IDENT)


async def test_a_report_with_a_lost_response_is_written_once(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], reporter: Recorder
) -> None:
    task, subtasks = submitted
    first = subtasks[0]
    transaction, tries = resources.database.transaction, []

    @asynccontextmanager
    async def losing() -> AsyncIterator[Connection]:
        tries.append(1)
        if len(tries) == 1:
            raise psycopg.OperationalError("gone before anything was written")
        async with transaction() as connection:
            yield connection
        if len(tries) == 2:
            raise psycopg.OperationalError("gone after the commit, before its answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources.database, "transaction", losing)
        await reporter.record([Started(role=first.role), Logged(role=first.role, text="said once")])

    assert len(tries) == 3
    log, _ = await instances.log(resources.database, task.id, first.id)
    assert (log.count("said once"), log.count("{EXECUTE}")) == (1, 1)


async def stamps(resources: Resources) -> dict[str, datetime]:
    async with resources.database.transaction() as connection:
        return {row["ident"]: row["renewed"] for row in await fetch(connection, "run_leases")}


async def test_a_report_renews_the_lease_also_when_the_clock_was_set_back(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], reporter: Recorder
) -> None:
    _, subtasks = submitted
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE run SET renewed = now() + interval '1 day'")
    expired = await stamps(resources)

    await reporter.record([Started(role=subtasks[0].role)])

    assert await stamps(resources) != expired
    assert not await Recorder(replace(resources, executor="other"), submitted[0].id).expire(expired)


async def test_a_run_with_an_expired_lease_writes_nothing(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], reporter: Recorder
) -> None:
    task, subtasks = submitted
    first = subtasks[0]
    await reporter.record([Started(role=first.role)])
    other = Recorder(replace(resources, executor="other"), task.id)
    expired = await stamps(resources)
    await reporter.record([Logged(role=first.role, text="it lives")])
    assert not await other.expire(expired), "it is renewed"
    assert await other.expire(await stamps(resources))

    with pytest.raises(LeaseLost):
        await reporter.record([succeeded(first.role)])

    found, statuses = await state(resources, task)
    assert (found.status, statuses[0]) == (TaskStatus.FAILED, SubtaskStatus.FAILED)
    log, _ = await instances.log(resources.database, task.id, first.id)
    assert "INTERRUPTED" in log


async def test_the_last_report_ends_the_run_in_the_same_transaction(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], reporter: Recorder
) -> None:
    task, subtasks = submitted
    await reporter.record([Started(role=subtasks[0].role), failed(subtasks[0].role)], RunEnd(rc=2, status="failed"))

    async with resources.database.transaction() as connection:
        assert not await fetch(connection, "unfinished_runs_of_task", task_id=task.id)
    assert (await state(resources, task))[0].status is TaskStatus.FAILED


async def test_a_subtask_that_runs_without_a_run_has_failed(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], recorder: Recorder
) -> None:
    task, subtasks = submitted
    await recorder.record([Started(role=subtasks[0].role)])

    assert await recorder.expire({})

    assert (await state(resources, task))[1][0] is SubtaskStatus.FAILED


async def test_changes_on_the_host_belong_to_an_execution(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], recorder: Recorder
) -> None:
    """They are written with the result, and a retry and a rollback add theirs."""
    task, subtasks = submitted
    role = subtasks[0].role
    change = HostChange(what="parameter", name="a", before="1", after="2", needs_restart=True)
    back = HostChange(what="parameter", name="a", before="2", after="1")

    await recorder.record([Started(role=role), Changed(role=role, changes=[change]), failed(role)])
    await operations.retry_task(resources, task.id)
    await recorder.record([Started(role=role), Changed(role=role, changes=[change, change]), failed(role)])
    await operations.rollback_task(resources, task.id)
    await recorder.record([Started(role=role), Changed(role=role, changes=[back]), succeeded(role)])

    _, found = await instances.get(resources.database, task.id)
    expected = [(change, Operation.EXECUTE, 1), *[(change, Operation.RETRY, 2)] * 2, (back, Operation.ROLLBACK, 2)]
    assert changes_of(found[0]) == [
        RecordedChange(**asdict(each), operation=operation, run_time=run_time) for each, operation, run_time in expected
    ]
    assert not changes_of(found[1])


async def test_the_changes_of_a_subtask_are_limited(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], recorder: Recorder
) -> None:
    task, subtasks = submitted
    many = [HostChange(what="parameter", name="a", before="1", after="2")] * MAX_CHANGES
    await recorder.record([Started(role=subtasks[0].role)])
    for _ in range(CHANGES_LIMIT // MAX_CHANGES + 2):
        await recorder.record([Changed(role=subtasks[0].role, changes=many)])

    _, found = await instances.get(resources.database, task.id)
    assert len(changes_of(found[0])) == CHANGES_LIMIT
