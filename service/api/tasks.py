"""Endpoints of task instances and subtasks (docs/reference/ocp-api.md 2)."""

from collections.abc import Awaitable, Callable
from typing import NotRequired, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import READ_TASK, UPDATE_TASK
from service.api.queries import LogQuery, TaskQuery
from service.http import envelope_schema, requests
from service.http.envelope import page_data, success_response
from service.http.openapi import Operation
from service.model import errors as model_errors
from service.model.tasks import Subtask, TaskInstance
from service.tasks import diagnosis, documents, instances, operations, task_lists, waiting
from service.tasks import errors as tasks_errors
from service.tasks.documents import WrappedTaskInstance
from service.tasks.resources import Resources


class SubtaskLog(TypedDict):
    """Log of all runs of a subtask. With `after` in the request, `next` is the `after` of the next request."""

    log: str
    next: NotRequired[int]


async def list_task_instances(request: Request) -> Response:
    """List task instances: GET /api/v2/tasks/instances."""
    query = requests.parse_query(request, TaskQuery)
    if query.filter is None:
        return success_response(request, page_data([], query.page, 0))
    resources = requests.resources(request)
    found, total = await task_lists.page(resources, query.filter, query.page, query.state)
    progress = await waiting.progress_of_tasks(resources, [task for task, _ in found])
    contents = [documents.basic(task, subtasks, progress[task.id].state) for task, subtasks in found]
    return success_response(request, page_data(contents, query.page, total))


async def get_task_instance(request: Request) -> Response:
    """Return a task instance: GET /api/v2/tasks/instances/{taskInstanceId}."""
    return success_response(
        request, await detail(requests.resources(request), requests.path_id(request, "taskInstanceId"))
    )


async def retry_task(request: Request) -> Response:
    """Retry a task instance: POST /api/v2/tasks/instances/{taskInstanceId}/retry."""
    return await _control_task(request, operations.retry_task)


async def rollback_task(request: Request) -> Response:
    """Roll a task instance back: POST /api/v2/tasks/instances/{taskInstanceId}/rollback."""
    return await _control_task(request, operations.rollback_task)


async def retry_subtask(request: Request) -> Response:
    """Retry a subtask: POST /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/retry."""
    task, changed = await _control_subtask(request, operations.retry_subtask)
    state = (await waiting.progress(requests.resources(request), task)).state
    return success_response(request, documents.subtask(changed, state))


async def skip_subtask(request: Request) -> Response:
    """Skip a subtask: POST /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/skip."""
    await _control_subtask(request, operations.skip_subtask)
    return success_response(request)


async def cancel_subtask(request: Request) -> Response:
    """Cancel a subtask: POST /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/cancel."""
    await _control_subtask(request, operations.cancel_subtask)
    return success_response(request)


async def _control_task(request: Request, operation: Callable[[Resources, int], Awaitable[None]]) -> Response:
    task_id = requests.path_id(request, "taskInstanceId")
    resources = requests.resources(request)
    await operation(resources, task_id)
    return success_response(request, await detail(resources, task_id))


async def detail(resources: Resources, task_id: int) -> WrappedTaskInstance:
    """Return the document of a task instance for GET; raise UnknownTask."""
    task, subtasks = await instances.get(resources.database, task_id)
    return documents.wrapped(task, subtasks, await waiting.progress(resources, task))


async def _control_subtask(
    request: Request, operation: Callable[[Resources, int, int], Awaitable[None]]
) -> tuple[TaskInstance, Subtask]:
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    await operation(requests.resources(request), task_id, subtask_id)
    task, subtasks = await instances.get(requests.resources(request).database, task_id)
    return task, next(subtask for subtask in subtasks if subtask.id == subtask_id)


async def download_diagnosis(request: Request) -> Response:
    """Return the diagnosis as a zip: POST /api/v2/tasks/instances/{taskInstanceId}/downloadDiagnosis."""
    task_id = requests.path_id(request, "taskInstanceId")
    return Response(
        await diagnosis.build_archive(requests.resources(request).database, task_id),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="log_task_{task_id}.zip"'},
    )


async def get_subtask_log(request: Request) -> Response:
    """Return the log: GET /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/log."""
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    after = requests.parse_query(request, LogQuery).after
    text, last = await instances.log(requests.resources(request).database, task_id, subtask_id, after=after or 0)
    data: SubtaskLog = {"log": text}
    if after is not None:
        data["next"] = last
    return success_response(request, data)


TASK = "/api/v2/tasks/instances/{taskInstanceId}"
SUBTASK = TASK + "/subtasks/{subtaskInstanceId}"


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v2/tasks/instances",
        endpoint=list_task_instances,
        permission=READ_TASK,
        summary="List task instances; a filter by OceanBase cluster or tenant matches none",
        query=TaskQuery,
        response=envelope_schema.Success[envelope_schema.PageOf[documents.BasicTaskInstance]],
    ),
    Operation(
        method="GET",
        path=TASK,
        endpoint=get_task_instance,
        permission=READ_TASK,
        summary="Get a task instance with its subtasks",
        response=envelope_schema.Success[WrappedTaskInstance],
        errors=(tasks_errors.UnknownTask,),
    ),
    Operation(
        method="POST",
        path=TASK + "/retry",
        endpoint=retry_task,
        permission=UPDATE_TASK,
        summary="Retry the failed subtasks of a task instance; a failed rollback resumes the rollback",
        response=envelope_schema.Success[WrappedTaskInstance],
        errors=(
            tasks_errors.UnknownTask,
            tasks_errors.OperationNotAllowed,
            tasks_errors.ReadOnly,
            tasks_errors.Superseded,
            tasks_errors.ServerGone,
            tasks_errors.HostBusy,
        ),
    ),
    Operation(
        method="POST",
        path=TASK + "/rollback",
        endpoint=rollback_task,
        permission=UPDATE_TASK,
        summary="Roll a failed task instance back, in reverse order",
        response=envelope_schema.Success[WrappedTaskInstance],
        errors=(
            tasks_errors.UnknownTask,
            tasks_errors.OperationNotAllowed,
            tasks_errors.ReadOnly,
            tasks_errors.Superseded,
            tasks_errors.ServerGone,
            tasks_errors.RollbackProhibited,
            tasks_errors.HostBusy,
        ),
    ),
    Operation(
        method="POST",
        path=TASK + "/downloadDiagnosis",
        endpoint=download_diagnosis,
        permission=READ_TASK,
        summary="Download the diagnosis of a task instance as a zip",
        media_type="application/octet-stream",
        errors=(tasks_errors.UnknownTask,),
    ),
    *(
        Operation(
            method="POST",
            path=f"{SUBTASK}/{verb}",
            endpoint=endpoint,
            permission=UPDATE_TASK,
            summary=summary,
            response=response,
            errors=(
                model_errors.InvalidRequest,
                tasks_errors.UnknownTask,
                tasks_errors.UnknownSubtask,
                tasks_errors.SubtaskOperationNotAllowed,
                tasks_errors.ReadOnly,
                tasks_errors.Superseded,
                tasks_errors.ServerGone,
                tasks_errors.HostBusy,
            ),
        )
        for verb, endpoint, summary, response in (
            (
                "retry",
                retry_subtask,
                "Retry a failed subtask, then run the subtasks after it",
                envelope_schema.Success[documents.SubtaskInstance],
            ),
            (
                "skip",
                skip_subtask,
                "Skip a failed subtask, then run the subtasks after it",
                envelope_schema.SuccessWithoutData,
            ),
            ("cancel", cancel_subtask, "Cancel a running subtask and its run", envelope_schema.SuccessWithoutData),
        )
    ),
    Operation(
        method="GET",
        path=SUBTASK + "/log",
        endpoint=get_subtask_log,
        permission=READ_TASK,
        summary="Get the log of all runs of a subtask",
        query=LogQuery,
        response=envelope_schema.Success[SubtaskLog],
        errors=(tasks_errors.UnknownTask, tasks_errors.UnknownSubtask),
    ),
)
