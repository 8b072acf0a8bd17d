"""Event streams: parse, open, answer."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from service import requests, streams
from service.endpoints_tasks import detail
from service.errors import TooManyStreams
from service.news import News
from service.schemas import EventsQuery

MOST_STREAMS = 300  # of one process; the other connections are for those who ask and go


async def follow_task_instance(request: Request) -> Response:
    """GET /api/v2/tasks/instances/{taskInstanceId}/events"""
    resources = requests.resources(request)
    task_id = requests.path_id(request, "taskInstanceId")
    asked = requests.query(request, EventsQuery).after
    seen = requests.last_event_id(request)
    news = _news(request)
    after = seen if seen is not None else asked
    now = await streams.position(resources.database, task_id)
    read = partial(detail, resources, task_id)
    start = now if after is None else after
    return streams.answer(streams.of_task(resources.database, news, task_id, start, read, greet=after is None))


async def follow_task_instances(request: Request) -> Response:
    """GET /api/v2/tasks/events"""
    return streams.answer(streams.of_list(requests.resources(request).database, _news(request)))


def _news(request: Request) -> News:
    news: News = request.app.state.news
    if len(news) >= MOST_STREAMS:
        raise TooManyStreams(limit=MOST_STREAMS)
    return news
