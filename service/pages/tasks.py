"""Pages with task instances: the list, and the panel of open tasks in every page."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.api.queries import TaskQuery
from service.http import requests
from service.http.languages import error_translator
from service.model.errors import NoSuchPath, TakeoverError
from service.model.states import TaskState
from service.model.tasks import TaskFilter, TaskStatus
from service.model.types import Page
from service.pages.addresses import Note, with_note, with_query
from service.pages.rendering import language_of, render
from service.pages.selection import PAGE_SIZES, Rejection, Result, audited, page_number, selected_ids
from service.pages.task_rows import rows_of
from service.tasks import instances, request_operations, task_lists
from service.tasks.resources import Resources

LIST = "/tasks"
STATES = (
    *(TaskState.RUNNING, TaskState.QUEUED, TaskState.WAITING_FOR_HOST, TaskState.WAITING, TaskState.NOT_STARTED),
    *(TaskState.FAILED, TaskState.SUCCESSFUL, TaskState.ROLLED_BACK, TaskState.SUPERSEDED),
)
"""The states in the filter of the list, in its order."""
OPEN_STATUSES = (TaskStatus.RUNNING, TaskStatus.FAILED)
OPEN_TASKS_LIMIT = 10  # rows of the panel
OPERATIONS: Mapping[str, Callable[[Resources, Sequence[int]], Awaitable[dict[int, TakeoverError]]]] = {
    "retry": request_operations.retry_tasks,
    "rollback": request_operations.rollback_tasks,
    "cancel": request_operations.cancel_tasks,
}


async def list_tasks(request: Request) -> Response:
    """Serve GET /tasks."""
    return await _render_list(request)


async def execute_operation(request: Request) -> Response:
    """Serve POST /tasks/selected/{operation}: retry, roll back or cancel several task instances."""
    operation = request.path_params["operation"]
    if operation not in OPERATIONS:
        raise NoSuchPath(path=request.scope["path"])
    resources = requests.resources(request)
    requests.parse_query(request, TaskQuery)  # raises before anything is executed
    ids = await selected_ids(request, "tasks")
    async with audited(request, LIST, ids, operation) as outcomes:
        errors = await OPERATIONS[operation](resources, ids)
        outcomes |= {task_id: errors.get(task_id) for task_id in ids}
    if not errors:
        address = with_query(request, LIST, page=page_number(request))
        return RedirectResponse(with_note(request, address, Note(operation=operation)), 303)
    async with resources.database.autocommit() as connection:
        names = {task.id: task.host_name for task, _ in await instances.by_ids(connection, list(errors))}
    translate = error_translator(language_of(request))
    rejections = [
        Rejection(name=names.get(task_id) or str(task_id), address=f"{LIST}/{task_id}", message=error.say(translate))
        for task_id, error in errors.items()
    ]
    return await _render_list(request, Result(accepted=len(ids) - len(errors), rejections=rejections), ids)


async def _render_list(request: Request, result: Result | None = None, selected: Collection[int] = ()) -> Response:
    """Render the list with its filter, which a rejected operation keeps, as it keeps the selection."""
    resources = requests.resources(request)
    query = requests.parse_query(request, TaskQuery)
    found, total = await task_lists.page(resources, query.filter, query.page, query.state) if query.filter else ([], 0)
    address = with_query(request, LIST, page=page_number(request))
    return render(
        request,
        "tasks.html",
        rows=await rows_of(resources, found),
        total=total,
        query=query,
        searched=query.filter is not None and query.filter != TaskFilter(statuses=query.status, order=query.order),
        states=STATES,
        result=result,
        selected=selected,
        canonical_address=address if result else "",
        list_query=address.removeprefix(LIST),
        counts=await instances.count_open(resources.database),
        sizes=PAGE_SIZES,
        with_query=lambda **changes: with_query(request, LIST, **changes),
    )


async def list_open_tasks(request: Request) -> Response:
    """Serve GET /tasks/open: the panel of running and failed task instances."""
    resources = requests.resources(request)
    filter = TaskFilter(statuses=OPEN_STATUSES, superseded=False, held=False)
    found, _ = await instances.page(resources.database, filter, Page(size=OPEN_TASKS_LIMIT))
    counts = await instances.count_open(resources.database)
    return render(request, "open_tasks.html", rows=await rows_of(resources, found), counts=counts)
