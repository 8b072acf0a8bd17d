"""Pages of requests: the list, and one request with its hosts, its failures by reason, and operations on all hosts."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.api.request_schemas import RequestPageQuery, RequestQuery
from service.http import requests as http_requests
from service.http.envelope import trace_id
from service.http.languages import error_translator
from service.model.errors import NoSuchPath
from service.model.requests import Finding, RequestHost
from service.model.requests import Request as SubmittedRequest
from service.model.states import TaskState
from service.outcome import failure_groups, host_changes
from service.outcome.failure_groups import FailureGroup, HostFailure
from service.pages.rendering import language_of, render
from service.tasks import prechecks, request_operations, requests, waiting
from service.tasks.request_operations import Outcome
from service.tasks.resources import Resources

PAGE_SIZES = (10, 20, 50, 100)
NAMED_HOSTS = 48  # with more hosts, their names are shown only on demand
ENDED = (TaskState.SUCCESSFUL, TaskState.FAILED, TaskState.ROLLED_BACK, TaskState.SUPERSEDED)
STATE_ORDER = (
    *(TaskState.FAILED, TaskState.RUNNING, TaskState.QUEUED, TaskState.WAITING_FOR_HOST, TaskState.WAITING),
    TaskState.NOT_STARTED,
    *(TaskState.SUCCESSFUL, TaskState.ROLLED_BACK, TaskState.SUPERSEDED),
)
SUBJECTS = {
    "retry": request_operations.RETRYABLE,
    "rollback": request_operations.RETRYABLE,
    "cancel": request_operations.UNFINISHED,
}
"""The states of the hosts that an operation is for. Rejections by other hosts are not shown."""

OPERATIONS: dict[str, Callable[[Resources, int], Awaitable[Sequence[Outcome]]]] = {
    "retry": request_operations.retry,
    "rollback": request_operations.rollback,
    "cancel": request_operations.cancel,
}


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A host that does not allow the operation that was requested, with the reason."""

    host: RequestHost
    message: str


async def list_requests(request: Request) -> Response:
    """Serve GET /requests."""
    query = http_requests.parse_query(request, RequestQuery)
    resources = http_requests.resources(request)
    full = await waiting.full_clusters(resources)
    found, total = await requests.page(resources.database, query.order, query.page, full)
    return render(
        request,
        "requests.html",
        requests=found,
        ended=ended,
        states=STATE_ORDER,
        total=total,
        query=query,
        sizes=PAGE_SIZES,
        with_query=lambda **changes: "/requests?" + urlencode({"size": query.page.size, **changes}),
    )


async def show_request(request: Request) -> Response:
    """Serve GET /requests/{requestId}."""
    return await _render(request, done=http_requests.parse_query(request, RequestPageQuery).done)


async def execute_operation(request: Request) -> Response:
    """Serve POST /requests/{requestId}/{operation}."""
    request_id, operation = http_requests.path_id(request, "requestId"), request.path_params["operation"]
    if operation not in OPERATIONS:
        raise NoSuchPath(path=request.scope["path"])
    outcomes = await OPERATIONS[operation](http_requests.resources(request), request_id)
    translate = error_translator(language_of(request))
    rejections = [
        Rejection(host=outcome.host, message=outcome.error.say(translate))
        for outcome in outcomes
        if outcome.error is not None and outcome.host.state in SUBJECTS[operation]
    ]
    if rejections:
        return await _render(request, rejections=rejections)
    return RedirectResponse(f"/requests/{request_id}?done={operation}", 303)


async def take_over_passed(request: Request) -> Response:
    """Serve POST /requests/{requestId}/takeover: take over the hosts that passed the check."""
    request_id = http_requests.path_id(request, "requestId")
    submitted = await prechecks.take_over_passed(
        http_requests.resources(request), request_id, creator=request.user, trace_id=trace_id(request)
    )
    return RedirectResponse(f"/requests/{submitted[0][0].request_id}?done=takeover", 303)


def ended(request: SubmittedRequest) -> int:
    """Return the number of hosts that have ended."""
    return sum(request.counts[state] for state in ENDED)


async def _render(request: Request, *, rejections: Sequence[Rejection] = (), done: str | None = None) -> Response:
    resources = http_requests.resources(request)
    request_id = http_requests.path_id(request, "requestId")
    full = await waiting.full_clusters(resources)
    found = await requests.get(resources.database, request_id, full)
    hosts = await requests.hosts(resources.database, request_id, full=full)
    workflow = resources.workflows.get(found.workflow)
    return render(
        request,
        "request.html",
        submitted=found,
        hosts=hosts,
        named=len(hosts) <= NAMED_HOSTS,
        ended=ended(found),
        states=STATE_ORDER,
        failures=_failures(hosts),
        changed_names=host_changes.lasting_names,
        changes=host_changes.summed(host.changes for host in hosts),
        is_check=workflow is not None and workflow.check,
        passed=len(await prechecks.passed(resources, request_id)),
        can_roll_back=workflow is not None and workflow.rollback is not None,
        rejections=rejections,
        canonical_address=f"/requests/{request_id}" if rejections else "",
        done=done,
    )


def _failures(hosts: Sequence[RequestHost]) -> list[FailureGroup]:
    return failure_groups.group(
        HostFailure(host_name=host.host_name, task_id=host.task_id, subtask=found.subtask, reason=found.message)
        for host in hosts
        for found in host.findings or [Finding(subtask=host.subtask, message=host.reason)]
        if host.state is TaskState.FAILED
    )
