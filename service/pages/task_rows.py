"""Rows of a list of task instances."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.model.tasks import SubtaskStatus, TaskInstance
from service.tasks import waiting
from service.tasks.instances import BasicTask
from service.tasks.resources import Resources
from service.tasks.waiting import Progress


@dataclass(frozen=True, kw_only=True)
class Row:
    """A task instance in a list, with its progress."""

    task: TaskInstance
    progress: Progress
    finished: int
    total: int

    @property
    def cluster(self) -> str:
        """Return the name of the OBProxy cluster that the takeover is for."""
        return str(self.task.context["stringMap"]["obproxy_cluster_name"])


async def rows_of(resources: Resources, found: Sequence[BasicTask]) -> list[Row]:
    """Return the rows of task instances."""
    progress = await waiting.progress_of_tasks(resources, [task for task, _ in found])
    return [
        Row(
            task=task,
            progress=progress[task.id],
            finished=sum(s.status is SubtaskStatus.SUCCESSFUL for s in subtasks),
            total=len(subtasks),
        )
        for task, subtasks in found
    ]
