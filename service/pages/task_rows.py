"""Rows of a list of task instances, and the addresses of its pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request

from service.model.tasks import SubtaskStatus, TaskInstance
from service.tasks import waiting
from service.tasks.instances import BasicTask
from service.tasks.resources import Resources
from service.tasks.waiting import Progress

PAGE_SIZES = (10, 20, 50, 100)


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


def with_query(request: Request, path: str = "", **changes: object) -> str:
    """Return the address of this page, or of `path`, with changes to its query.

    The page number is reset unless it is changed, and the note of an operation that was executed is left out.
    """
    kept = {name: value for name, value in request.query_params.items() if name not in ("page", "done", *changes)}
    query = {name: value for name, value in {**kept, **changes}.items() if value not in ("", None)}
    return (path or str(request.scope["path"])) + (f"?{urlencode(query)}" if query else "")
