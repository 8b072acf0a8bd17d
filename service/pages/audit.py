"""The page of who has changed what."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from service.access import audit
from service.api.request_schemas import AuditQuery
from service.http import requests
from service.pages.rendering import render

PAGE_SIZES = (10, 50, 100, 500)


async def list_page(request: Request) -> Response:
    """GET /audit"""
    query = requests.query(request, AuditQuery)
    found, total = await audit.events(requests.resources(request).database, query.page, query.user_name)
    kept = {"userName": query.user_name} if query.user_name else {}
    return render(
        request,
        "audit.html",
        events=found,
        total=total,
        query=query,
        sizes=PAGE_SIZES,
        with_query=lambda **changes: "/audit?" + urlencode({**kept, "size": query.page.size, **changes}),
    )
