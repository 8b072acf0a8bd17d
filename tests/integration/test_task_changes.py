"""Changes of task instances as event streams read them: in order, each once, those of one task instance."""

from typing import Any

from service.api import event_streams
from service.model.rollout import Rollout
from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Logged, Started
from service.store.database import execute, fetch
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from tests.integration.sample_tasks import advance, subtask_ids
from tests.integration.users import ADMIN

DOCUMENT = None  # stands for a change of the document
EVERYTHING = 1000  # rows


async def submit(resources: Resources, *host_ids: int, rollout: Rollout | None = None) -> list[int]:
    """Take hosts over; return the ids of their task instances."""
    hosts = [HostRequest(host_id=host_id, sql_port=2883) for host_id in host_ids]
    submitted = await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t", rollout=rollout)
    return [task.id for task, _ in submitted]


async def changes(resources: Resources, task_id: int, after: int, size: int = EVERYTHING) -> list[dict[str, Any]]:
    async with resources.database.autocommit() as connection:
        return await fetch(connection, "changes_of_task_after", task_id=task_id, after=after, size=size)


async def write(resources: Resources, subtasks: list[int], *contents: str) -> None:
    """Write lines into the logs of subtasks in turn."""
    async with resources.database.transaction() as connection:
        await execute(
            connection,
            "insert_subtask_logs",
            subtask_ids=[subtasks[number % len(subtasks)] for number in range(len(contents))],
            run_times=[1] * len(contents),
            contents=list(contents),
        )


async def test_changes_follow_a_number_in_their_order_up_to_a_size(resources: Resources) -> None:
    task_id, other = await submit(resources, 1, 2)
    subtasks = await subtask_ids(resources, task_id)
    start = await event_streams.last_change(resources.database, task_id)
    await write(resources, subtasks[:2], "one", "two", "three", "four")
    await write(resources, await subtask_ids(resources, other), "of the other one")
    async with resources.database.transaction() as connection:
        await execute(connection, "notify_task_changes", task_ids=[task_id, other], changed=True)

    rows = await changes(resources, task_id, start)
    assert [row["content"] for row in rows] == ["one", "two", "three", "four", DOCUMENT]
    assert [row["subtask_id"] for row in rows] == [*subtasks[:2], *subtasks[:2], None]
    numbers = [row["id"] for row in rows]
    assert numbers == sorted(set(numbers)) and numbers[0] > start
    for skipped, number in enumerate([start, *numbers]):
        assert await changes(resources, task_id, number) == rows[skipped:]
        assert await changes(resources, task_id, number, 1) == rows[skipped : skipped + 1]
        assert await changes(resources, task_id, number, 3) == rows[skipped : skipped + 3]


async def test_the_last_change_is_that_of_the_log_or_of_the_document(resources: Resources) -> None:
    task_id, other = await submit(resources, 1, 2)
    before = [await event_streams.last_change(resources.database, task) for task in (task_id, other)]
    assert before == sorted(set(before))
    await write(resources, await subtask_ids(resources, task_id), *["line"] * 3)

    (*_, last) = await changes(resources, task_id, before[0])
    assert await event_streams.last_change(resources.database, task_id) == last["id"]
    assert await event_streams.last_change(resources.database, other) == before[1]

    async with resources.database.transaction() as connection:
        await execute(connection, "notify_task_changes", task_ids=[task_id], changed=True)
    assert await event_streams.last_change(resources.database, task_id) > last["id"]
    assert await event_streams.last_change(resources.database, other) == before[1]


async def test_a_line_of_the_log_does_not_change_the_document(resources: Resources) -> None:
    (task_id,) = await submit(resources, 1)
    role = resources.workflows[TAKEOVER].roles[0]
    await Recorder(resources, task_id).record([Started(role=role)])
    start = await event_streams.last_change(resources.database, task_id)
    await Recorder(resources, task_id).record([Logged(role=role, text="line")])
    assert [row["content"] for row in await changes(resources, task_id, start)] == ["line"]


async def test_held_and_ended_task_instances_are_not_running(resources: Resources) -> None:
    async def running() -> int:
        async with resources.database.autocommit() as connection:
            total: int = (await fetch(connection, "count_running_tasks"))[0]["total"]
        return total

    await submit(resources, 1, 2, rollout=Rollout(batch_size=1))
    assert await running() == 1
    (done,) = await submit(resources, 3)
    assert await running() == 2
    await advance(resources, done, resources.workflows[TAKEOVER].roles)
    assert await running() == 1
