"""Endpoints of the discoveries of hosts: which OBProxies run where, and what prevents their takeover."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from service.access.roles import READ_OBPROXY, UPDATE_OBPROXY
from service.api.bodies import DiscoverParam
from service.api.queries import DiscoveryQuery
from service.fleet import discoveries
from service.fleet import discovery_documents as documents
from service.http import envelope_schema, requests
from service.http.envelope import list_data, page_data, success_response
from service.http.openapi import Operation
from service.model import errors as model_errors

DISCOVERIES = "/api/v2/obproxy/discoveries"


async def discover(request: Request) -> Response:
    """Request a discovery of hosts: POST /api/v2/obproxy/discover."""
    resources = requests.resources(request)
    settings = resources.settings
    body = await requests.parse_optional_body(
        request, DiscoverParam, limit=settings.body_limit, context=DiscoverParam.context(settings.hosts_limit)
    )
    found = await discoveries.request(resources, body.host_ids, requester=request.user)
    now = datetime.now(UTC)
    contents = list_data(documents.host_discovery(each, now) for each in found)
    return success_response(request, contents, {"Location": DISCOVERIES})


async def list_discoveries(request: Request) -> Response:
    """List the hosts with their last discoveries: GET /api/v2/obproxy/discoveries."""
    query = requests.parse_query(request, DiscoveryQuery)
    host_ids = None if query.host_id is None else {query.host_id}
    found, total = await discoveries.page(
        requests.resources(request), query.order, query.page, keyword=query.keyword or "", host_ids=host_ids
    )
    now = datetime.now(UTC)
    contents = [documents.host_discovery(each, now) for each in found]
    return success_response(request, page_data(contents, query.page, total))


OPERATIONS = (
    Operation(
        method="POST",
        path="/api/v2/obproxy/discover",
        endpoint=discover,
        permission=UPDATE_OBPROXY,
        summary="Discover the OBProxies of hosts without changing anything; the results follow in the list",
        body=DiscoverParam,
        body_required=False,
        response=envelope_schema.Success[envelope_schema.Contents[documents.HostDiscovery]],
        errors=(
            model_errors.MalformedBody,
            model_errors.UnknownHost,
            model_errors.BodyTooLarge,
            model_errors.UnsupportedMediaType,
            model_errors.UnsupportedContentEncoding,
            model_errors.InventoryUnreadable,
        ),
    ),
    Operation(
        method="GET",
        path=DISCOVERIES,
        endpoint=list_discoveries,
        permission=READ_OBPROXY,
        summary="List the hosts of the inventory with the results of their last discoveries",
        query=DiscoveryQuery,
        response=envelope_schema.Success[envelope_schema.PageOf[documents.HostDiscovery]],
        errors=(model_errors.InventoryUnreadable,),
    ),
)
