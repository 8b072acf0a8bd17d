"""Page of the audit: calls that change something."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from service.access import audit
from service.api.queries import AuditQuery
from service.http import requests
from service.pages.rendering import render

PAGE_SIZES = (10, 50, 100, 500)


async def list_events(request: Request) -> Response:
    """Serve GET /audit."""
    query = requests.parse_query(request, AuditQuery)
    found, total = await audit.events(requests.resources(request).database, query.page, query.user_name)
    user_filter = {"userName": query.user_name} if query.user_name else {}
    return render(
        request,
        "audit.html",
        events=found,
        total=total,
        query=query,
        sizes=PAGE_SIZES,
        with_query=lambda **changes: "/audit?" + urlencode({**user_filter, "size": query.page.size, **changes}),
    )
