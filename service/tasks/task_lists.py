"""Lists the task instances in a state, such as queued or rolled back."""

from collections.abc import Mapping
from dataclasses import replace

from service.model.states import TaskState
from service.model.tasks import Held, TaskFilter, TaskInstance, TaskStatus
from service.model.types import Page
from service.store.database import fetch_as
from service.tasks import instances, waiting
from service.tasks.instances import BasicTask
from service.tasks.resources import Resources

FILTERS: Mapping[TaskState, TaskFilter] = {
    TaskState.WAITING: TaskFilter(statuses=[TaskStatus.RUNNING], held_by=Held.ROLLOUT),
    TaskState.NOT_STARTED: TaskFilter(statuses=[TaskStatus.RUNNING], held_by=Held.MAX_FAILURES),
    TaskState.FAILED: TaskFilter(statuses=[TaskStatus.FAILED], superseded=False),
    TaskState.SUPERSEDED: TaskFilter(statuses=[TaskStatus.FAILED], superseded=True),
    TaskState.SUCCESSFUL: TaskFilter(statuses=[TaskStatus.SUCCESSFUL], rolled_back=False),
    TaskState.ROLLED_BACK: TaskFilter(statuses=[TaskStatus.SUCCESSFUL], rolled_back=True),
}
"""The states that follow from a task instance alone. The others depend on runs and on other task instances."""


async def page(
    resources: Resources, filter: TaskFilter, page: Page, state: TaskState | None = None
) -> tuple[list[BasicTask], int]:
    """Return one page of the task instances in `state` (None = all) that match `filter`, and the number of all."""
    wanted = filter if state is None else await _in_state(resources, filter, state)
    return await instances.page(resources.database, wanted, page)


async def _in_state(resources: Resources, filter: TaskFilter, state: TaskState) -> TaskFilter:
    known = FILTERS.get(state)
    if known is None:
        return replace(filter, ids=await _started_in_state(resources, state))
    statuses = [status for status in known.statuses or () if filter.statuses is None or status in filter.statuses]
    return replace(
        filter,
        statuses=statuses,
        superseded=known.superseded,
        held_by=known.held_by,
        rolled_back=known.rolled_back,
    )


async def _started_in_state(resources: Resources, state: TaskState) -> list[int]:
    async with resources.database.autocommit() as connection:
        started = await fetch_as(connection, TaskInstance, "started_tasks")
    progress = await waiting.progress_of_tasks(resources, started)
    return [task.id for task in started if progress[task.id].state is state]
