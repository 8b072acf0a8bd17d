"""Operations on a task instance, without a run: transitions U2 to U6."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.model.errors import TakeoverError
from service.model.tasks import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.outcome.run_progress import Ended, Started, Verdict
from service.tasks import instances, operations
from service.tasks.errors import (
    HostBusy,
    OperationNotAllowed,
    RollbackProhibited,
    SubtaskOperationNotAllowed,
    UnknownSubtask,
    UnknownTask,
)
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.fetched_jobs import claimed
from tests.integration.users import ADMIN

SubtaskState = tuple[SubtaskStatus, Operation]


@pytest.fixture
async def submitted(resources: Resources) -> tuple[TaskInstance, list[Subtask]]:
    return (await take_over(resources, 1, [HostRequest(host_id=1, sql_port=2883)], creator=ADMIN, trace_id="t"))[0]


@pytest.fixture
async def failed(resources: Resources, submitted: tuple[TaskInstance, list[Subtask]]) -> TaskInstance:
    """Return a task instance whose third subtask has failed, and whose job is gone."""
    task, subtasks = submitted
    recorder = Recorder(resources, task.id)
    for subtask in subtasks[:3]:
        await recorder.record([Started(role=subtask.role)])
        verdict = Verdict.FAILED if subtask is subtasks[2] else Verdict.SUCCESSFUL
        await recorder.record([Ended(role=subtask.role, verdict=verdict, code="", message="")])
    async with resources.database.transaction() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs")
    return task


async def positions(resources: Resources, task: TaskInstance) -> list[SubtaskState]:
    return [(s.status, s.operation) for s in (await instances.get(resources.database, task.id))[1]]


async def jobs(resources: Resources) -> int:
    return len(list(await resources.queue.app.job_manager.list_jobs_async()))


async def test_retry_of_the_task_readies_failed_subtasks_and_counts(resources: Resources, failed: TaskInstance) -> None:
    await operations.retry_task(resources, failed.id)

    task, subtasks = await instances.get(resources.database, failed.id)
    assert (task.status, task.operation, task.finish_time) == (TaskStatus.RUNNING, Operation.RETRY, None)
    assert (subtasks[2].status, subtasks[2].operation, subtasks[2].run_time) == (
        SubtaskStatus.READY,
        Operation.RETRY,
        2,
    )
    assert await jobs(resources) == 1


async def test_retry_of_a_subtask_does_not_count(resources: Resources, failed: TaskInstance) -> None:
    subtask = (await instances.get(resources.database, failed.id))[1][2]

    await operations.retry_subtask(resources, failed.id, subtask.id)

    task, subtasks = await instances.get(resources.database, failed.id)
    assert (task.status, task.operation) == (TaskStatus.RUNNING, Operation.EXECUTE)
    assert (subtasks[2].status, subtasks[2].operation, subtasks[2].run_time) == (
        SubtaskStatus.READY,
        Operation.RETRY,
        1,
    )
    assert await jobs(resources) == 1


async def test_rollback_marks_started_subtasks_and_readies_the_last(resources: Resources, failed: TaskInstance) -> None:
    await operations.rollback_task(resources, failed.id)

    task, _ = await instances.get(resources.database, failed.id)
    assert (task.status, task.operation) == (TaskStatus.RUNNING, Operation.ROLLBACK)
    assert (await positions(resources, failed))[:4] == [
        (SubtaskStatus.SUCCESSFUL, Operation.ROLLBACK),
        (SubtaskStatus.SUCCESSFUL, Operation.ROLLBACK),
        (SubtaskStatus.READY, Operation.ROLLBACK),
        (SubtaskStatus.PENDING, Operation.EXECUTE),
    ]


async def test_a_running_subtask_is_canceling_until_its_run_has_ended(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]]
) -> None:
    task, subtasks = submitted
    await Recorder(resources, task.id).record([Started(role=subtasks[0].role)])

    for _ in range(2):  # the second request changes nothing
        await operations.cancel_subtask(resources, task.id, subtasks[0].id)

    assert (await positions(resources, task))[0] == (SubtaskStatus.CANCELING, Operation.EXECUTE)


@pytest.mark.parametrize("target", ["task instance", "subtask"])
async def test_a_cancel_requests_the_abort_of_the_job(
    resources: Resources, submitted: tuple[TaskInstance, list[Subtask]], target: str
) -> None:
    """Its worker is notified at once, and not at the next renewal of the lease."""
    task, subtasks = submitted
    job = await claimed(resources)
    await Recorder(resources, task.id).record([Started(role=subtasks[0].role)])

    if target == "subtask":
        await operations.cancel_subtask(resources, task.id, subtasks[0].id)
    else:
        await operations.cancel_task(resources, task.id)

    async with resources.database.autocommit() as connection:
        rows = await connection.execute("SELECT id FROM procrastinate_jobs WHERE abort_requested")
        assert await rows.fetchall() == [{"id": job.id}]


OPERATIONS_ON_TASK = [operations.retry_task, operations.rollback_task]
OPERATIONS_ON_SUBTASK = [operations.retry_subtask, operations.skip_subtask, operations.cancel_subtask]


@pytest.mark.parametrize("operation", OPERATIONS_ON_TASK)
async def test_a_running_task_rejects_and_names_the_needed_state(
    resources: Resources,
    submitted: tuple[TaskInstance, list[Subtask]],
    operation: Callable[[Resources, int], Awaitable[None]],
) -> None:
    before = await positions(resources, submitted[0])

    with pytest.raises(OperationNotAllowed, match=r"is RUNNING; .* needs it to be FAILED"):
        await operation(resources, submitted[0].id)

    assert await positions(resources, submitted[0]) == before
    assert await jobs(resources) == 1


@pytest.mark.parametrize(
    ("operation", "index", "words"),
    [
        (operations.retry_subtask, 0, "is SUCCESSFUL; RETRY needs it to be FAILED"),
        (operations.retry_subtask, 3, "is PENDING; RETRY needs it to be FAILED"),
        (operations.skip_subtask, 0, "is SUCCESSFUL; SKIP needs it to be FAILED"),
        (operations.skip_subtask, 3, "is PENDING; SKIP needs it to be FAILED"),
        (operations.cancel_subtask, 2, "is FAILED; CANCEL needs it to be RUNNING"),
        (operations.cancel_subtask, 3, "is PENDING; CANCEL needs it to be RUNNING"),
    ],
)
async def test_a_subtask_in_another_state_rejects_and_names_the_needed_state(
    resources: Resources,
    failed: TaskInstance,
    operation: Callable[[Resources, int, int], Awaitable[None]],
    index: int,
    words: str,
) -> None:
    before = await positions(resources, failed)
    subtask = (await instances.get(resources.database, failed.id))[1][index]

    with pytest.raises(SubtaskOperationNotAllowed, match=words):
        await operation(resources, failed.id, subtask.id)

    assert await positions(resources, failed) == before


@pytest.mark.parametrize("operation", OPERATIONS_ON_TASK)
async def test_an_unknown_task_is_unknown(
    resources: Resources, operation: Callable[[Resources, int], Awaitable[None]]
) -> None:
    with pytest.raises(UnknownTask):
        await operation(resources, 404)


@pytest.mark.parametrize("operation", OPERATIONS_ON_SUBTASK)
async def test_both_ids_count(
    resources: Resources, failed: TaskInstance, operation: Callable[[Resources, int, int], Awaitable[None]]
) -> None:
    other = (await take_over(resources, 1, [HostRequest(host_id=2, sql_port=2883)], creator=ADMIN, trace_id="t"))[0]

    with pytest.raises(UnknownSubtask):
        await operation(resources, failed.id, other[1][0].id)
    with pytest.raises(UnknownTask):
        await operation(resources, 404, other[1][0].id)


async def test_prohibit_rollback_is_honoured(resources: Resources, failed: TaskInstance) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE subtask_instance SET prohibit_rollback = true WHERE role = 'prepare_obproxy_install'"
        )
    with pytest.raises(RollbackProhibited):
        await operations.rollback_task(resources, failed.id)


@pytest.mark.parametrize("operation", OPERATIONS_ON_TASK)
async def test_a_host_that_is_taken_over_again_meanwhile_is_busy(
    resources: Resources, failed: TaskInstance, operation: Callable[[Resources, int], Awaitable[None]]
) -> None:
    other = [HostRequest(host_id=1, sql_port=3306)]
    newer = (await take_over(resources, 1, other, creator=ADMIN, trace_id="t"))[0][0]
    before = await positions(resources, failed)

    with pytest.raises(HostBusy, match=f": {newer.id}"):
        await operation(resources, failed.id)

    assert await positions(resources, failed) == before


async def test_of_retry_and_skip_racing_exactly_one_wins(resources: Resources, failed: TaskInstance) -> None:
    subtask = (await instances.get(resources.database, failed.id))[1][2]
    results = await asyncio.gather(
        operations.retry_subtask(resources, failed.id, subtask.id),
        operations.skip_subtask(resources, failed.id, subtask.id),
        operations.retry_task(resources, failed.id),
        operations.rollback_task(resources, failed.id),
        return_exceptions=True,
    )

    assert [result for result in results if result is None] == [None]
    assert all(isinstance(result, TakeoverError) for result in results if result is not None)
    assert await jobs(resources) == 1
