"""Task instances: parse, do it, answer. Nothing is decided here."""

from collections.abc import Awaitable, Callable
from typing import NotRequired, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import READ_TASK, UPDATE_TASK
from service.api import request_schemas
from service.api.request_schemas import LogQuery, TaskQuery
from service.http import envelope_schema, requests
from service.http.envelope import page_of, success
from service.http.openapi import Operation
from service.model.tasks import Subtask
from service.tasks import diagnosis, documents, instances, operations
from service.tasks import errors as tasks_errors
from service.tasks.documents import WrappedTaskInstance
from service.tasks.resources import Resources

DATABASE_PATIENCE = 3.0  # seconds after which a database that does not answer counts as gone


class SubtaskLog(TypedDict):
    """Log of all runs of a subtask. With `after` in the request, `next` is the `after` of the next request."""

    log: str
    next: NotRequired[int]


async def list_task_instances(request: Request) -> Response:
    """GET /api/v2/tasks/instances"""
    query = requests.query(request, TaskQuery)
    if query.filter is None:
        return success(request, page_of([], query.page, 0))
    found, total = await instances.page(requests.resources(request).database, query.filter, query.page)
    return success(request, page_of([documents.basic(*instance) for instance in found], query.page, total))


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
    return success(request, documents.subtask(changed))


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


async def detail(resources: Resources, task_id: int) -> WrappedTaskInstance:
    """Return the document of a task instance for GET; raise UnknownTask."""
    task, subtasks = await instances.get(resources.database, task_id)
    return documents.wrapped(task, subtasks, await instances.blocking_tasks(resources, task))


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
        await diagnosis.build_archive(requests.resources(request).database, task_id),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="log_task_{task_id}.zip"'},
    )


async def get_subtask_log(request: Request) -> Response:
    """GET /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/log"""
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    after = requests.query(request, LogQuery).after
    text, last = await instances.log(requests.resources(request).database, task_id, subtask_id, after=after or 0)
    answer: SubtaskLog = {"log": text}
    if after is not None:
        answer["next"] = last
    return success(request, answer)


TASK = "/api/v2/tasks/instances/{taskInstanceId}"
SUBTASK = TASK + "/subtasks/{subtaskInstanceId}"


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v2/tasks/instances",
        endpoint=list_task_instances,
        needs=READ_TASK,
        summary="List task instances; narrowing to an OceanBase cluster or tenant gives none",
        query=request_schemas.TaskQuery,
        answer=envelope_schema.Success[envelope_schema.PageOf[documents.BasicTaskInstance]],
    ),
    Operation(
        method="GET",
        path=TASK,
        endpoint=get_task_instance,
        needs=READ_TASK,
        summary="One task instance with its subtasks",
        answer=envelope_schema.Success[WrappedTaskInstance],
        errors=(tasks_errors.UnknownTask,),
    ),
    Operation(
        method="POST",
        path=TASK + "/retry",
        endpoint=retry_task,
        needs=UPDATE_TASK,
        summary="Go on with a failed task instance at what has failed; a failed rollback goes on rolling back",
        answer=envelope_schema.Success[WrappedTaskInstance],
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
        needs=UPDATE_TASK,
        summary="Undo what a failed task instance has done, the last first",
        answer=envelope_schema.Success[WrappedTaskInstance],
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
        needs=READ_TASK,
        summary="All that is known of a task instance, as a zip",
        media_type="application/octet-stream",
        errors=(tasks_errors.UnknownTask,),
    ),
    *(
        Operation(
            method="POST",
            path=f"{SUBTASK}/{word}",
            endpoint=endpoint,
            needs=UPDATE_TASK,
            summary=summary,
            answer=answer,
            errors=(
                tasks_errors.UnknownTask,
                tasks_errors.UnknownSubtask,
                tasks_errors.SubtaskOperationNotAllowed,
                tasks_errors.ReadOnly,
                tasks_errors.Superseded,
                tasks_errors.ServerGone,
                tasks_errors.HostBusy,
            ),
        )
        for word, endpoint, summary, answer in (
            (
                "retry",
                retry_subtask,
                "Run a failed subtask again, and what is behind it",
                envelope_schema.Success[documents.SubtaskInstance],
            ),
            ("skip", skip_subtask, "Take a failed subtask for done, and go on behind it", envelope_schema.Done),
            ("cancel", cancel_subtask, "End a running subtask and its run", envelope_schema.Done),
        )
    ),
    Operation(
        method="GET",
        path=SUBTASK + "/log",
        endpoint=get_subtask_log,
        needs=READ_TASK,
        summary="What a subtask's runs have said so far",
        query=request_schemas.LogQuery,
        answer=envelope_schema.Success[SubtaskLog],
        errors=(tasks_errors.UnknownTask, tasks_errors.UnknownSubtask),
    ),
)
