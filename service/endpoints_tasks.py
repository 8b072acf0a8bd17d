"""Task instances: parse, do it, answer. Nothing is decided here."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from service import diagnosis, document, instances, operations, requests
from service.resources import Resources
from service.responses import page_of, success
from service.schemas import LogQuery, TaskQuery
from service.types import JSON, Subtask

DATABASE_PATIENCE = 3.0  # seconds after which a database that does not answer counts as gone


async def list_task_instances(request: Request) -> Response:
    """GET /api/v2/tasks/instances"""
    query = requests.query(request, TaskQuery)
    if query.filter is None:
        return success(request, page_of([], query.page, 0))
    found, total = await instances.page(requests.resources(request).database, query.filter, query.page)
    return success(request, page_of([document.basic(*instance) for instance in found], query.page, total))


async def get_task_instance(request: Request) -> Response:
    """GET /api/v2/tasks/instances/{taskInstanceId}"""
    return success(request, await detail(requests.resources(request), requests.path_id(request, "taskInstanceId")))


async def retry_task(request: Request) -> Response:
    """POST /api/v2/tasks/instances/{taskInstanceId}/retry"""
    return await _control_task(request, operations.retry_task)


async def rollback_task(request: Request) -> Response:
    """POST /api/v2/tasks/instances/{taskInstanceId}/rollback"""
    return await _control_task(request, operations.rollback_task)


async def retry_subtask(request: Request) -> Response:
    """POST /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/retry"""
    changed = await _control_subtask(request, operations.retry_subtask)
    return success(request, document.subtask(changed))


async def skip_subtask(request: Request) -> Response:
    """POST /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/skip"""
    await _control_subtask(request, operations.skip_subtask)
    return success(request)


async def cancel_subtask(request: Request) -> Response:
    """POST /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/cancel"""
    await _control_subtask(request, operations.cancel_subtask)
    return success(request)


async def _control_task(request: Request, operation: Callable[[Resources, int], Awaitable[None]]) -> Response:
    task_id = requests.path_id(request, "taskInstanceId")
    resources = requests.resources(request)
    await operation(resources, task_id)
    return success(request, await detail(resources, task_id))


async def detail(resources: Resources, task_id: int) -> JSON:
    """The document of a task instance as GET answers it; raises UnknownTask."""
    task, subtasks = await instances.get(resources.database, task_id)
    return document.wrapped(task, subtasks, await instances.waits_for(resources, task))


async def _control_subtask(request: Request, operation: Callable[[Resources, int, int], Awaitable[None]]) -> Subtask:
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    await operation(requests.resources(request), task_id, subtask_id)
    _, subtasks = await instances.get(requests.resources(request).database, task_id)
    return next(subtask for subtask in subtasks if subtask.id == subtask_id)


async def download_diagnosis(request: Request) -> Response:
    """POST /api/v2/tasks/instances/{taskInstanceId}/downloadDiagnosis: a zip, without an envelope."""
    task_id = requests.path_id(request, "taskInstanceId")
    return Response(
        await diagnosis.pack(requests.resources(request).database, task_id),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="log_task_{task_id}.zip"'},
    )


async def get_subtask_log(request: Request) -> Response:
    """GET /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/log"""
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    after = requests.query(request, LogQuery).after
    text, last = await instances.log(requests.resources(request).database, task_id, subtask_id, after=after or 0)
    answer: JSON = {"log": text}
    if after is not None:
        answer["next"] = last
    return success(request, answer)
