"""Everything that can be asked for, as one table: the routes and their description are made from it."""

from collections.abc import Awaitable, Callable
from functools import cache, wraps

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service import __version__, answers, endpoints, errors, pages, schemas
from service.auth import demand
from service.openapi import Operation, describe
from service.permissions import ANY_USER, ANYBODY
from service.types import JSON


async def openapi(request: Request) -> Response:
    """GET /openapi.json"""
    return JSONResponse(_description())


async def docs(request: Request) -> Response:
    """GET /docs"""
    return HTMLResponse(_docs())


async def docs_style(request: Request) -> Response:
    """GET /docs.css"""
    return Response(pages.DOCS_STYLE, media_type="text/css")


@cache
def _description() -> JSON:
    return describe(OPERATIONS, __version__)


@cache
def _docs() -> str:
    return pages.docs(_description())


TASK = "/api/v2/tasks/instances/{taskInstanceId}"
SUBTASK = TASK + "/subtasks/{subtaskInstanceId}"

TAKE_OVER = "OBPROXY:*:UPDATE"
READ_TASK = "TASK:*:READ"
WORK_ON_TASK = "TASK:*:UPDATE"
READ_AUDIT = "AUDIT:*:READ"

OPERATIONS = (
    Operation(
        method="POST",
        path="/api/v2/obproxy/clusters/{id}/takeOver",
        endpoint=endpoints.take_over,
        needs=TAKE_OVER,
        summary="Take running OBProxy processes over into an OBProxy cluster; one task instance a host",
        body=schemas.TakeOverParam,
        headers={"Idempotency-Key": "The same key and request within 24 hours: the same answer, nothing done again"},
        answer=answers.Success[answers.Contents[answers.TaskInstance]],
        errors=(
            errors.InvalidRequest,
            errors.MalformedBody,
            errors.UnknownCluster,
            errors.UnknownHost,
            errors.HostBusy,
            errors.AlreadyManaged,
            errors.KeyReused,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InventoryUnreadable,
        ),
    ),
    Operation(
        method="POST",
        path="/api/v2/obproxy/externalRuns",
        endpoint=endpoints.record_external_run,
        needs=TAKE_OVER,
        summary="Record a run on one host that was started by hand; the same uuid again is answered the same",
        body=schemas.ExternalRunParam,
        answer=answers.Success[answers.WrappedTaskInstance],
        errors=(
            errors.InvalidRequest,
            errors.MalformedBody,
            errors.UnknownCluster,
            errors.UnknownHost,
            errors.HostBusy,
            errors.AlreadyManaged,
            errors.RunRecorded,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InventoryUnreadable,
        ),
    ),
    Operation(
        method="GET",
        path="/api/v2/tasks/instances",
        endpoint=endpoints.list_task_instances,
        needs=READ_TASK,
        summary="List task instances; narrowing to an OceanBase cluster or tenant gives none",
        query=schemas.TaskQuery,
        answer=answers.Success[answers.PageOf[answers.BasicTaskInstance]],
        errors=(errors.InvalidRequest,),
    ),
    Operation(
        method="GET",
        path=TASK,
        endpoint=endpoints.get_task_instance,
        needs=READ_TASK,
        summary="One task instance with its subtasks",
        answer=answers.Success[answers.WrappedTaskInstance],
        errors=(errors.InvalidRequest, errors.UnknownTask),
    ),
    Operation(
        method="POST",
        path=TASK + "/retry",
        endpoint=endpoints.retry_task,
        needs=WORK_ON_TASK,
        summary="Go on with a failed task instance at what has failed; a failed rollback goes on rolling back",
        answer=answers.Success[answers.WrappedTaskInstance],
        errors=(
            errors.InvalidRequest,
            errors.UnknownTask,
            errors.OperationNotAllowed,
            errors.ReadOnly,
            errors.ServerGone,
            errors.HostBusy,
        ),
    ),
    Operation(
        method="POST",
        path=TASK + "/rollback",
        endpoint=endpoints.rollback_task,
        needs=WORK_ON_TASK,
        summary="Undo what a failed task instance has done, the last first",
        answer=answers.Success[answers.WrappedTaskInstance],
        errors=(
            errors.InvalidRequest,
            errors.UnknownTask,
            errors.OperationNotAllowed,
            errors.ReadOnly,
            errors.ServerGone,
            errors.RollbackProhibited,
            errors.HostBusy,
        ),
    ),
    Operation(
        method="POST",
        path=TASK + "/downloadDiagnosis",
        endpoint=endpoints.download_diagnosis,
        needs=READ_TASK,
        summary="All that is known of a task instance, as a zip",
        media_type="application/octet-stream",
        errors=(errors.InvalidRequest, errors.UnknownTask),
    ),
    *(
        Operation(
            method="POST",
            path=f"{SUBTASK}/{word}",
            endpoint=endpoint,
            needs=WORK_ON_TASK,
            summary=summary,
            answer=answer,
            errors=(
                errors.InvalidRequest,
                errors.UnknownTask,
                errors.UnknownSubtask,
                errors.SubtaskOperationNotAllowed,
                errors.ReadOnly,
                errors.ServerGone,
                errors.HostBusy,
            ),
        )
        for word, endpoint, summary, answer in (
            (
                "retry",
                endpoints.retry_subtask,
                "Run a failed subtask again, and what is behind it",
                answers.Success[answers.SubtaskInstance],
            ),
            ("skip", endpoints.skip_subtask, "Take a failed subtask for done, and go on behind it", answers.Done),
            ("cancel", endpoints.cancel_subtask, "End a running subtask and its run", answers.Done),
        )
    ),
    Operation(
        method="GET",
        path=SUBTASK + "/log",
        endpoint=endpoints.get_subtask_log,
        needs=READ_TASK,
        summary="What a subtask's runs have said so far",
        query=schemas.LogQuery,
        answer=answers.Success[answers.SubtaskLog],
        errors=(errors.InvalidRequest, errors.UnknownTask, errors.UnknownSubtask),
    ),
    Operation(
        method="GET",
        path="/api/v2/audit/events",
        endpoint=endpoints.list_audit_events,
        needs=READ_AUDIT,
        summary="Who has changed what, or tried to, the newest first",
        query=schemas.AuditQuery,
        answer=answers.Success[answers.PageOf[answers.AuditEvent]],
        errors=(errors.InvalidRequest,),
    ),
    Operation(
        method="GET",
        path="/api/v2/info",
        endpoint=endpoints.info,
        needs=ANY_USER,
        summary="What this service is",
        answer=answers.Info,
    ),
    Operation(
        method="GET",
        path="/api/v2/time",
        endpoint=endpoints.server_time,
        needs=ANYBODY,
        summary="What time it is here",
    ),
    Operation(
        method="GET",
        path="/api/status",
        endpoint=endpoints.status,
        needs=ANYBODY,
        summary="okay, or bad when the database does not answer",
        texts={503: "bad"},
    ),
)

OPEN_PATHS = [operation.path for operation in OPERATIONS if operation.needs == ANYBODY]


def routes() -> list[Route]:
    """The routes of OPERATIONS, each for those who may, and those to their description."""
    return [
        *(Route(operation.path, _guarded(operation), methods=[operation.method]) for operation in OPERATIONS),
        Route("/openapi.json", openapi),
        Route("/docs", docs),
        Route("/docs.css", docs_style),
    ]


def _guarded(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    @wraps(operation.endpoint)
    async def endpoint(request: Request) -> Response:
        demand(request, operation.needs)
        return await operation.endpoint(request)

    return endpoint
