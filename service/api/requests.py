"""Endpoints of requests: the task instances of one call."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import READ_TASK, UPDATE_TASK
from service.api.queries import RequestQuery
from service.http import envelope_schema, languages
from service.http import requests as http_requests
from service.http.envelope import page_data, success_response
from service.http.openapi import Operation
from service.tasks import errors as tasks_errors
from service.tasks import request_documents, request_operations, requests, waiting
from service.tasks.request_documents import BasicRequest, RequestOperation
from service.tasks.request_operations import Outcome
from service.tasks.resources import Resources

REQUESTS = "/api/v2/obproxy/requests"
REQUEST = REQUESTS + "/{requestId}"


async def list_requests(request: Request) -> Response:
    """List requests: GET /api/v2/obproxy/requests."""
    query = http_requests.parse_query(request, RequestQuery)
    resources = http_requests.resources(request)
    full = await waiting.full_clusters(resources)
    found, total = await requests.page(resources.database, query.filter, query.page, full)
    return success_response(request, page_data(map(request_documents.basic, found), query.page, total))


async def get_request(request: Request) -> Response:
    """Return a request with its hosts: GET /api/v2/obproxy/requests/{requestId}."""
    request_id = http_requests.path_id(request, "requestId")
    return success_response(request, await detail(http_requests.resources(request), request_id))


async def detail(
    resources: Resources, request_id: int, task_ids: Collection[int] | None = None
) -> request_documents.Request:
    """Return the document of a request; with `task_ids`, only their hosts. Raise UnknownRequest."""
    full = await waiting.full_clusters(resources)
    found = await requests.get(resources.database, request_id, full)
    return request_documents.detail(found, await requests.hosts(resources.database, request_id, task_ids, full))


async def retry_request(request: Request) -> Response:
    """Retry the failed hosts: POST /api/v2/obproxy/requests/{requestId}/retry."""
    return await _control(request, request_operations.retry)


async def rollback_request(request: Request) -> Response:
    """Roll the failed hosts back: POST /api/v2/obproxy/requests/{requestId}/rollback."""
    return await _control(request, request_operations.rollback)


async def cancel_request(request: Request) -> Response:
    """Cancel the running hosts: POST /api/v2/obproxy/requests/{requestId}/cancel."""
    return await _control(request, request_operations.cancel)


async def _control(request: Request, operation: Callable[[Resources, int], Awaitable[Sequence[Outcome]]]) -> Response:
    request_id = http_requests.path_id(request, "requestId")
    outcomes = await operation(http_requests.resources(request), request_id)
    translate = languages.error_translator(languages.choose(request.headers.get("accept-language", "")))
    return success_response(request, request_documents.operation(request_id, outcomes, translate))


OPERATIONS = (
    Operation(
        method="GET",
        path=REQUESTS,
        endpoint=list_requests,
        permission=READ_TASK,
        summary="List requests: each has the task instances of one call",
        query=RequestQuery,
        response=envelope_schema.Success[envelope_schema.PageOf[BasicRequest]],
    ),
    Operation(
        method="GET",
        path=REQUEST,
        endpoint=get_request,
        permission=READ_TASK,
        summary="Get a request with its hosts",
        response=envelope_schema.Success[request_documents.Request],
        errors=(tasks_errors.UnknownRequest,),
    ),
    *(
        Operation(
            method="POST",
            path=f"{REQUEST}/{verb}",
            endpoint=endpoint,
            permission=UPDATE_TASK,
            summary=summary,
            response=envelope_schema.Success[RequestOperation],
            errors=(tasks_errors.UnknownRequest,),
        )
        for verb, endpoint, summary in (
            (
                "retry",
                retry_request,
                "Retry the failed hosts of a request; the response names those that do not allow it",
            ),
            ("rollback", rollback_request, "Roll the failed hosts of a request back; the response names the others"),
            ("cancel", cancel_request, "Cancel the running and waiting hosts of a request"),
        )
    ),
)
