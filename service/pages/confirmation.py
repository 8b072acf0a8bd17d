"""Confirmation of operations: the server executes one only after a confirmation.

The form of an operation has the question. A browser without JavaScript, or a click before the script has loaded, gets a
page with this question. The script asks it in a dialog instead. Both send the form again with the field CONFIRMED.
"""

from functools import wraps

from starlette.requests import Request
from starlette.responses import Response

from service.http import requests
from service.http.authentication import CSRF_FIELD
from service.http.openapi import Endpoint
from service.pages.addresses import local_path
from service.pages.rendering import render

CONFIRMED = "confirmed"
TITLE, QUESTION, ANSWER, PAGE, DANGER = (
    f"confirm-{part}" for part in ("title", "question", "answer", "page", "danger")
)
PRECONDITION_REQUIRED = 428  # so that the audit log shows that nothing was done


def required(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that calls `endpoint` if the form is confirmed, and otherwise asks for the confirmation."""

    @wraps(endpoint)
    async def confirmed(request: Request) -> Response:
        limit = requests.resources(request).settings.body_limit
        content = await requests.read_body(request.headers, request.receive, limit)
        fields = requests.form_fields(content)
        if CONFIRMED in fields:
            return await endpoint(Request(request.scope, requests.replay_body(content, request.receive)))
        kept = {name: value for name, value in fields.items() if not name.startswith("confirm-") and name != CSRF_FIELD}
        query = request.scope["query_string"].decode("latin-1")
        page = local_path(fields.get(PAGE, ""))
        return render(
            request,
            "confirm.html",
            status=PRECONDITION_REQUIRED,
            title=fields.get(TITLE, ""),
            question=fields.get(QUESTION, ""),
            answer=fields.get(ANSWER, ""),
            is_dangerous=DANGER in fields,
            page=page,
            canonical_address=page,  # the address of the operation has no page
            action=request.scope["path"] + (f"?{query}" if query else ""),
            fields={**kept, CONFIRMED: "yes"},
        )

    return confirmed
