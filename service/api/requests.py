"""Endpoints of requests: the task instances of one call."""

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import READ_TASK
from service.api import request_schemas
from service.api.request_schemas import RequestQuery
from service.http import envelope_schema
from service.http import requests as http_requests
from service.http.envelope import page_data, success_response
from service.http.openapi import Operation
from service.tasks import errors as tasks_errors
from service.tasks import request_documents, requests
from service.tasks.request_documents import BasicRequest
from service.tasks.resources import Resources

REQUESTS = "/api/v2/obproxy/requests"
REQUEST = REQUESTS + "/{requestId}"


async def list_requests(request: Request) -> Response:
    """List requests: GET /api/v2/obproxy/requests."""
    query = http_requests.parse_query(request, RequestQuery)
    found, total = await requests.page(http_requests.resources(request).database, query.order, query.page)
    return success_response(request, page_data(map(request_documents.basic, found), query.page, total))


async def get_request(request: Request) -> Response:
    """Return a request with its hosts: GET /api/v2/obproxy/requests/{requestId}."""
    request_id = http_requests.path_id(request, "requestId")
    return success_response(request, await detail(http_requests.resources(request), request_id))


async def detail(resources: Resources, request_id: int) -> request_documents.Request:
    """Return the document of a request; raise UnknownRequest."""
    found = await requests.get(resources.database, request_id)
    return request_documents.detail(found, await requests.hosts(resources.database, request_id))


OPERATIONS = (
    Operation(
        method="GET",
        path=REQUESTS,
        endpoint=list_requests,
        permission=READ_TASK,
        summary="List requests: each has the task instances of one call",
        query=request_schemas.RequestQuery,
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
)
