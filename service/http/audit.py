"""Audit middleware: every request that may change something is an audit event, rejected requests included."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access import audit
from service.access.users import User
from service.http.authentication import SAFE_METHODS, client_address
from service.http.envelope import INTERNAL_SERVER_ERROR, trace_id
from service.model.audit import AuditCall

EVENT_ID = "audit_event_id"  # key in the ASGI scope: the id of the audit event of this request
CLIENT_CLOSED_REQUEST = 499  # status in the audit when the client disconnected before it got a response


class AuditMiddleware:
    """Records the status of each request with an unsafe method before its response is sent.

    `begin_record` writes the event before the request changes anything; this class completes it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return
        recorded = False

        async def send_recorded(message: Message) -> None:
            nonlocal recorded
            if message["type"] == "http.response.start":
                recorded = True
                await _record(scope, message["status"])
            await send(message)

        status = INTERNAL_SERVER_ERROR
        try:
            await self.app(scope, receive, send_recorded)
            status = CLIENT_CLOSED_REQUEST
        finally:
            if not recorded:
                await _record(scope, status)


async def begin_record(scope: Scope) -> None:
    """Write the audit event of a request before it changes anything; raise psycopg.Error when that fails.

    A request without a user changes nothing, so nothing is written for it here.
    """
    if scope.get("user") is not None and EVENT_ID not in scope:
        scope[EVENT_ID] = await audit.begin(scope["app"].state.resources.database, _call(scope, audit.UNANSWERED))


@asynccontextmanager
async def parts_recorded(scope: Scope, paths: Mapping[int, str]) -> AsyncIterator[dict[int, int]]:
    """Record the parts of a request, by their ids, as if each had been a request of its own to the path in `paths`.

    The events are written before the block changes anything; psycopg.Error is raised when that fails. The block notes
    the status of each part in the dictionary that it gets. A part without a status has failed.
    """
    database = scope["app"].state.resources.database
    calls = {number: replace(_call(scope, audit.UNANSWERED), path=path) for number, path in paths.items()}
    events = await audit.begin_all(database, list(calls.values()))
    statuses: dict[int, int] = {}
    try:
        yield statuses
    finally:
        for (number, call), event_id in zip(calls.items(), events, strict=True):
            status = statuses.get(number, INTERNAL_SERVER_ERROR)
            await audit.end(database, replace(call, status=status), event_id)


def _call(scope: Scope, status: int) -> AuditCall:
    user: User | None = scope.get("user")
    return AuditCall(
        user_name=user.name if user else None,
        client=client_address(scope),
        method=scope["method"],
        path=scope["raw_path"].decode("ascii", "backslashreplace"),
        status=status,
        trace_id=trace_id(HTTPConnection(scope)),
    )


async def _record(scope: Scope, status: int) -> None:
    await audit.end(scope["app"].state.resources.database, _call(scope, status), scope.get(EVENT_ID))
