"""Pages with task instances: the list, and the panel of open tasks in every page."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from service.api.request_schemas import TaskQuery
from service.http import requests
from service.model.tasks import SubtaskStatus, TaskFilter, TaskInstance, TaskStatus
from service.model.types import Page
from service.pages.rendering import render
from service.tasks import instances, waiting
from service.tasks.instances import BasicTask
from service.tasks.resources import Resources
from service.tasks.waiting import Progress

PAGE_SIZES = (10, 20, 50, 100)
OPEN_STATUSES = (TaskStatus.RUNNING, TaskStatus.FAILED)
OPEN_TASKS_LIMIT = 10  # rows of the panel


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


async def list_tasks(request: Request) -> Response:
    """Serve GET /tasks."""
    resources = requests.resources(request)
    query = requests.parse_query(request, TaskQuery)
    found, total = await instances.page(resources.database, query.filter, query.page) if query.filter else ([], 0)
    return render(
        request,
        "tasks.html",
        rows=await _rows(resources, found),
        total=total,
        query=query,
        counts=await instances.count_open(resources.database),
        sizes=PAGE_SIZES,
        with_query=lambda **changes: _with_query(request, **changes),
    )


async def list_open_tasks(request: Request) -> Response:
    """Serve GET /tasks/open: the panel of running and failed task instances."""
    resources = requests.resources(request)
    filter = TaskFilter(statuses=OPEN_STATUSES, superseded=False, held=False)
    found, _ = await instances.page(resources.database, filter, Page(size=OPEN_TASKS_LIMIT))
    counts = await instances.count_open(resources.database)
    return render(request, "open_tasks.html", rows=await _rows(resources, found), counts=counts)


async def _rows(resources: Resources, found: Sequence[BasicTask]) -> list[Row]:
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


def _with_query(request: Request, **changes: object) -> str:
    """Return the address of this page with changes to its query. The page number is reset unless it is changed."""
    kept = {name: value for name, value in request.query_params.items() if name not in ("page", *changes)}
    query = {name: value for name, value in {**kept, **changes}.items() if value not in ("", None)}
    path: str = request.scope["path"]
    return path + (f"?{urlencode(query)}" if query else "")
