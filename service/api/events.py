"""Endpoints of event streams."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import READ_OBPROXY, READ_TASK
from service.api import event_streams
from service.api.discoveries import DISCOVERIES
from service.api.queries import DiscoveryEventsQuery, EventsQuery
from service.api.requests import REQUEST
from service.api.requests import detail as request_detail
from service.api.tasks import TASK, detail
from service.fleet import discoveries, discovery_documents
from service.http import requests
from service.http.openapi import EVENT_STREAM, Operation
from service.model import errors as model_errors
from service.model.errors import TooManyStreams
from service.store.notifications import Notifications
from service.tasks import errors as tasks_errors
from service.tasks import requests as tasks_requests
from service.tasks import waiting

STREAM_LIMIT = 300  # event streams of one process; the other connections remain for short requests


async def follow_task_instance(request: Request) -> Response:
    """Stream one task instance: GET /api/v2/tasks/instances/{taskInstanceId}/events."""
    resources = requests.resources(request)
    task_id = requests.path_id(request, "taskInstanceId")
    after = requests.parse_query(request, EventsQuery).after
    last_event_id = requests.last_event_id(request)
    notifications = _notifications(request)
    if last_event_id is not None:
        after = last_event_id
    newest = await event_streams.last_change(resources.database, task_id)
    read_document = partial(detail, resources, task_id)
    start = newest if after is None else after
    return event_streams.event_stream_response(
        event_streams.task_events(
            resources.database, notifications, task_id, start, read_document, send_current=after is None
        )
    )


async def follow_task_instances(request: Request) -> Response:
    """Stream changes of all task instances: GET /api/v2/tasks/events."""
    events = event_streams.list_events(requests.resources(request).database, _notifications(request))
    return event_streams.event_stream_response(events)


async def follow_request(request: Request) -> Response:
    """Stream one request: GET /api/v2/obproxy/requests/{requestId}/events."""
    resources = requests.resources(request)
    request_id = requests.path_id(request, "requestId")
    notifications = _notifications(request)
    await tasks_requests.get(resources.database, request_id)

    async def versions() -> event_streams.HostVersions:
        full = await waiting.full_clusters(resources)
        return await tasks_requests.versions(resources.database, request_id, full)

    events = event_streams.request_events(notifications, versions, partial(request_detail, resources, request_id))
    return event_streams.event_stream_response(events)


async def follow_discoveries(request: Request) -> Response:
    """Stream the discoveries of hosts: GET /api/v2/obproxy/discoveries/events."""
    resources = requests.resources(request)
    query = requests.parse_query(request, DiscoveryEventsQuery)
    notifications = _notifications(request)
    host_ids = None if query.host_id is None else {query.host_id}
    keyword = query.keyword or ""
    await discoveries.matching_hosts(resources, keyword, host_ids)  # raises before the stream begins

    async def versions() -> Mapping[int, object]:
        return await discoveries.versions(resources, await discoveries.matching_hosts(resources, keyword, host_ids))

    async def document(changed: Sequence[int] | None) -> Mapping[str, object]:
        hosts = await discoveries.matching_hosts(resources, keyword, host_ids)
        wanted = {host.id for host in hosts} if changed is None else set(changed)
        sent = [host for host in hosts if host.id in wanted]
        found = await discoveries.of_hosts(resources, sent)
        pending = await discoveries.count_pending(resources, hosts)
        return {**discovery_documents.discovery_event(found, pending, datetime.now(UTC))}

    return event_streams.event_stream_response(event_streams.discovery_events(notifications, versions, document))


def _notifications(request: Request) -> Notifications:
    notifications: Notifications = request.app.state.notifications
    if len(notifications) >= STREAM_LIMIT:
        raise TooManyStreams(limit=STREAM_LIMIT)
    return notifications


OPERATIONS = (
    Operation(
        method="GET",
        path=TASK + "/events",
        endpoint=follow_task_instance,
        permission=READ_TASK,
        summary="Stream a task instance: `task` has the document after a change, `log` has new log lines",
        query=EventsQuery,
        headers=[requests.LAST_EVENT_ID],
        media_type=EVENT_STREAM,
        errors=(tasks_errors.UnknownTask, model_errors.TooManyStreams),
    ),
    Operation(
        method="GET",
        path="/api/v2/tasks/events",
        endpoint=follow_task_instances,
        permission=READ_TASK,
        summary="Stream all task instances: `tasks` has the number of RUNNING and the ids of changed ones",
        media_type=EVENT_STREAM,
        errors=(model_errors.TooManyStreams,),
    ),
    Operation(
        method="GET",
        path=REQUEST + "/events",
        endpoint=follow_request,
        permission=READ_TASK,
        summary="Stream a request: `request` has the document, first with all hosts, then with changed ones",
        media_type=EVENT_STREAM,
        errors=(tasks_errors.UnknownRequest, model_errors.TooManyStreams),
    ),
    Operation(
        method="GET",
        path=DISCOVERIES + "/events",
        endpoint=follow_discoveries,
        permission=READ_OBPROXY,
        summary="Stream discoveries: `discoveries` has the hosts, first all, then changed ones, and the number PENDING",
        query=DiscoveryEventsQuery,
        media_type=EVENT_STREAM,
        errors=(model_errors.InventoryUnreadable, model_errors.TooManyStreams),
    ),
)
