"""The pages of task instances: the list, and what is under way on every page."""

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
from service.tasks import instances
from service.tasks.instances import BasicTask

PAGE_SIZES = (10, 20, 50, 100)
UNDER_WAY = (TaskStatus.RUNNING, TaskStatus.FAILED)
MOST_UNDER_WAY = 10  # shown in the bubble


@dataclass(frozen=True, kw_only=True)
class Row:
    """A task instance in a list."""

    task: TaskInstance
    finished: int
    total: int

    @property
    def cluster(self) -> str:
        """The name of the OBProxy cluster it takes its proxy into."""
        return str(self.task.context["stringMap"]["obproxy_cluster_name"])


async def list_page(request: Request) -> Response:
    """GET /tasks"""
    database = requests.resources(request).database
    query = requests.query(request, TaskQuery)
    found, total = await instances.page(database, query.filter, query.page) if query.filter else ([], 0)
    return render(
        request,
        "tasks.html",
        rows=_rows(found),
        total=total,
        query=query,
        counts=await instances.count_open(database),
        sizes=PAGE_SIZES,
        with_query=lambda **changes: _with_query(request, **changes),
    )


async def under_way(request: Request) -> Response:
    """GET /tasks/under-way: what the bubble in the head of every page shows."""
    database = requests.resources(request).database
    page = Page(size=MOST_UNDER_WAY)
    found, _ = await instances.page(database, TaskFilter(statuses=UNDER_WAY, superseded=False), page)
    return render(request, "under_way.html", rows=_rows(found), counts=await instances.count_open(database))


def _rows(found: Sequence[BasicTask]) -> list[Row]:
    return [
        Row(task=task, finished=sum(s.status is SubtaskStatus.SUCCESSFUL for s in subtasks), total=len(subtasks))
        for task, subtasks in found
    ]


def _with_query(request: Request, **changes: object) -> str:
    """This page's address with some of its query changed; the first page again unless that is what changes."""
    kept = {name: value for name, value in request.query_params.items() if name not in ("page", *changes)}
    given = {name: value for name, value in {**kept, **changes}.items() if value not in ("", None)}
    path: str = request.scope["path"]
    return path + (f"?{urlencode(given)}" if given else "")
