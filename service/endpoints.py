"""One function for each thing a caller can do: parse, do it, answer. Nothing is decided here."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from service import __version__, audit, diagnosis, document, external, instances, operations, requests, submit
from service.auth import client
from service.database import fetch
from service.external import ExternalRun, Playbook
from service.resources import Resources
from service.responses import SERVER, contents, page_of, success, trace_id
from service.schemas import AuditQuery, ExternalRunParam, LogQuery, TakeOverParam, TaskQuery
from service.submit import HostRequest
from service.types import JSON, Subtask

DATABASE_PATIENCE = 3.0  # seconds after which a database that does not answer counts as gone


async def take_over(request: Request) -> Response:
    """POST /api/v2/obproxy/clusters/{id}/takeOver"""
    resources = _resources(request)
    settings = resources.settings
    cluster_id = requests.path_id(request, "id")
    wanted = await requests.body(
        request, TakeOverParam, limit=settings.body_limit, context=TakeOverParam.context(settings.hosts_limit)
    )
    hosts = [HostRequest(host_id=h.host_id, sql_port=h.sql_port, password=h.proxysys_passwd) for h in wanted.hosts]
    submitted = await submit.take_over(
        resources,
        cluster_id,
        hosts,
        creator=request.user,
        trace_id=trace_id(request),
        idempotency_key=requests.idempotency_key(request),
    )
    return success(request, contents(document.task_instance(task, subtasks) for task, subtasks in submitted))


async def record_external_run(request: Request) -> Response:
    """POST /api/v2/obproxy/externalRuns"""
    resources = _resources(request)
    told = await requests.body(request, ExternalRunParam, limit=resources.settings.body_limit, context={})
    run = ExternalRun(
        ident=told.uuid,
        cluster_id=told.cluster_id,
        host_id=told.host_id,
        host_name=told.host_name,
        sql_port=told.sql_port,
        playbook=Playbook(told.playbook),
        roles=told.roles,
        rc=told.rc,
        start_time=told.start_time,
        finish_time=told.finish_time,
        events=[(event.created, event.as_ansible_runner()) for event in told.events],
        executor=client(request.scope),
    )
    task, subtasks = await external.record(resources, run, creator=request.user, trace_id=trace_id(request))
    return success(request, document.wrapped(task, subtasks))


async def list_task_instances(request: Request) -> Response:
    """GET /api/v2/tasks/instances"""
    query = requests.query(request, TaskQuery)
    if query.filter is None:
        return success(request, page_of([], query.page, 0))
    found, total = await instances.page(_resources(request).database, query.filter, query.page)
    return success(request, page_of([document.basic(*instance) for instance in found], query.page, total))


async def get_task_instance(request: Request) -> Response:
    """GET /api/v2/tasks/instances/{taskInstanceId}"""
    return success(request, await _wrapped(request, requests.path_id(request, "taskInstanceId")))


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
    await operation(_resources(request), task_id)
    return success(request, await _wrapped(request, task_id))


async def _wrapped(request: Request, task_id: int) -> JSON:
    resources = _resources(request)
    task, subtasks = await instances.get(resources.database, task_id)
    limited = resources.settings.cluster_concurrency > 0
    return document.wrapped(task, subtasks, await instances.waits_for(resources.database, task, limited=limited))


async def _control_subtask(request: Request, operation: Callable[[Resources, int, int], Awaitable[None]]) -> Subtask:
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    await operation(_resources(request), task_id, subtask_id)
    _, subtasks = await instances.get(_resources(request).database, task_id)
    return next(subtask for subtask in subtasks if subtask.id == subtask_id)


async def download_diagnosis(request: Request) -> Response:
    """POST /api/v2/tasks/instances/{taskInstanceId}/downloadDiagnosis: a zip, without an envelope."""
    task_id = requests.path_id(request, "taskInstanceId")
    return Response(
        await diagnosis.pack(_resources(request).database, task_id),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="log_task_{task_id}.zip"'},
    )


async def get_subtask_log(request: Request) -> Response:
    """GET /api/v2/tasks/instances/{taskInstanceId}/subtasks/{subtaskInstanceId}/log"""
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    after = requests.query(request, LogQuery).after
    text, last = await instances.log(_resources(request).database, task_id, subtask_id, after=after or 0)
    answer: JSON = {"log": text}
    if after is not None:
        answer["next"] = last
    return success(request, answer)


async def list_audit_events(request: Request) -> Response:
    """GET /api/v2/audit/events"""
    query = requests.query(request, AuditQuery)
    found, total = await audit.events(_resources(request).database, query.page, query.user_name)
    return success(request, page_of([document.audit_event(event) for event in found], query.page, total))


async def info(request: Request) -> Response:
    """GET /api/v2/info: without an envelope, as OCP Express answers it."""
    return JSONResponse({"buildVersion": __version__, "name": "obproxy-takeover", "server": SERVER})


async def server_time(request: Request) -> Response:
    """GET /api/v2/time: plain text (facts/ocp-api.md 1.5)."""
    return PlainTextResponse(document.timestamp(datetime.now(UTC)))


async def status(request: Request) -> Response:
    """GET /api/status: `okay`, or `bad` with 503 when the database does not answer."""
    try:
        async with asyncio.timeout(DATABASE_PATIENCE), _resources(request).database.transaction() as connection:
            await fetch(connection, "ping")
    except (psycopg.Error, TimeoutError):
        return PlainTextResponse("bad", status_code=503)
    return PlainTextResponse("okay")


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources
