"""Event streams: parse, open, answer."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import READ_TASK
from service.api import event_streams, request_schemas
from service.api.request_schemas import EventsQuery
from service.api.tasks import TASK, detail
from service.http import requests
from service.http.openapi import EVENT_STREAM, Operation
from service.model import errors as model_errors
from service.model.errors import TooManyStreams
from service.store.notifications import Notifications
from service.tasks import errors as tasks_errors

MOST_STREAMS = 300  # of one process; the other connections are for those who ask and go


async def follow_task_instance(request: Request) -> Response:
    """GET /api/v2/tasks/instances/{taskInstanceId}/events"""
    resources = requests.resources(request)
    task_id = requests.path_id(request, "taskInstanceId")
    asked = requests.query(request, EventsQuery).after
    seen = requests.last_event_id(request)
    notifications = _notifications(request)
    after = seen if seen is not None else asked
    now = await event_streams.position(resources.database, task_id)
    read = partial(detail, resources, task_id)
    start = now if after is None else after
    return event_streams.answer(
        event_streams.of_task(resources.database, notifications, task_id, start, read, greet=after is None)
    )


async def follow_task_instances(request: Request) -> Response:
    """GET /api/v2/tasks/events"""
    return event_streams.answer(event_streams.of_list(requests.resources(request).database, _notifications(request)))


def _notifications(request: Request) -> Notifications:
    notifications: Notifications = request.app.state.notifications
    if len(notifications) >= MOST_STREAMS:
        raise TooManyStreams(limit=MOST_STREAMS)
    return notifications


OPERATIONS = (
    Operation(
        method="GET",
        path=TASK + "/events",
        endpoint=follow_task_instance,
        needs=READ_TASK,
        summary="Follow a task instance: `task` with its document when that has changed, `log` with the lines of a run",
        query=request_schemas.EventsQuery,
        headers={"Last-Event-ID": "The id of the last event that was seen: only what came behind it is sent"},
        media_type=EVENT_STREAM,
        errors=(tasks_errors.UnknownTask, model_errors.TooManyStreams),
    ),
    Operation(
        method="GET",
        path="/api/v2/tasks/events",
        endpoint=follow_task_instances,
        needs=READ_TASK,
        summary="Follow all: `tasks` with how many are RUNNING and which have changed; without ids, any may have",
        media_type=EVENT_STREAM,
        errors=(model_errors.TooManyStreams,),
    ),
)
