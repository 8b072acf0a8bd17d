"""What can be watched: streams of server-sent events."""

from service import endpoints_events as endpoints
from service import errors, errors_tasks, schemas
from service.openapi import EVENT_STREAM, Operation
from service.routes_tasks import READ_TASK, TASK

OPERATIONS = (
    Operation(
        method="GET",
        path=TASK + "/events",
        endpoint=endpoints.follow_task_instance,
        needs=READ_TASK,
        summary="Follow a task instance: `task` with its document when that has changed, `log` with the lines of a run",
        query=schemas.EventsQuery,
        headers={"Last-Event-ID": "The id of the last event that was seen: only what came behind it is sent"},
        media_type=EVENT_STREAM,
        errors=(errors.InvalidRequest, errors_tasks.UnknownTask, errors.TooManyStreams),
    ),
    Operation(
        method="GET",
        path="/api/v2/tasks/events",
        endpoint=endpoints.follow_task_instances,
        needs=READ_TASK,
        summary="Follow all: `tasks` with how many are RUNNING and which have changed; without ids, any may have",
        media_type=EVENT_STREAM,
        errors=(errors.TooManyStreams,),
    ),
)
