"""Pages of requests: the list, and one request with its hosts, its failures by reason, and operations on all hosts."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.api.queries import RequestQuery
from service.http import requests as http_requests
from service.http.envelope import STATUS_CODES, trace_id
from service.http.languages import error_translator
from service.model.errors import NoSuchPath, TakeoverError
from service.model.requests import Finding, RequestFilter, RequestHost, RequestStatus
from service.model.requests import Request as SubmittedRequest
from service.model.states import TaskState
from service.outcome import failure_groups, host_changes
from service.outcome.failure_groups import FailureGroup, HostFailure
from service.pages.addresses import Note, with_note, with_query
from service.pages.rendering import language_of, render
from service.pages.selection import PAGE_SIZES, Rejection, Result, audited, page_number, selected_ids
from service.tasks import prechecks, request_operations, requests, waiting
from service.tasks.errors import NoHostForOperation
from service.tasks.request_operations import Outcome
from service.tasks.resources import Resources

LIST = "/requests"
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


async def list_requests(request: Request) -> Response:
    """Serve GET /requests."""
    return await _render_list(request)


async def execute_on_selected(request: Request) -> Response:
    """Serve POST /requests/selected/{operation}: retry, roll back or cancel all hosts of several requests."""
    operation = _operation(request)
    resources = http_requests.resources(request)
    http_requests.parse_query(request, RequestQuery)  # raises before anything is executed
    ids = await selected_ids(request, "requests")
    translate = error_translator(language_of(request))
    accepted = 0
    rejections: list[Rejection] = []
    async with audited(request, LIST, ids, operation) as errors:
        for request_id in ids:
            try:
                outcomes = await _operate(resources, request_id, operation)
            except TakeoverError as error:
                errors[request_id] = error
                message = error.say(translate)
                rejections.append(Rejection(name=str(request_id), address=f"{LIST}/{request_id}", message=message))
            else:
                errors[request_id] = None
                result = _result(operation, outcomes, translate)
                accepted += result.accepted
                rejections += result.rejections
    if rejections:
        return await _render_list(request, Result(accepted=accepted, rejections=rejections), ids)
    address = with_query(request, LIST, page=page_number(request))
    return RedirectResponse(with_note(request, address, Note(operation=operation)), 303)


async def show_request(request: Request) -> Response:
    """Serve GET /requests/{requestId}."""
    return await _render(request)


async def execute_operation(request: Request) -> Response:
    """Serve POST /requests/{requestId}/{operation}."""
    request_id, operation = http_requests.path_id(request, "requestId"), _operation(request)
    try:
        outcomes = await _operate(http_requests.resources(request), request_id, operation)
    except NoHostForOperation as error:
        return await _render(request, error=error)
    result = _result(operation, outcomes, error_translator(language_of(request)))
    if result.rejections:
        return await _render(request, result=result)
    return RedirectResponse(with_note(request, f"{LIST}/{request_id}", Note(operation=operation)), 303)


def _operation(request: Request) -> str:
    """Return the operation in the path; raise NoSuchPath."""
    operation: str = request.path_params["operation"]
    if operation not in OPERATIONS:
        raise NoSuchPath(path=request.scope["path"])
    return operation


async def _operate(resources: Resources, request_id: int, operation: str) -> Sequence[Outcome]:
    """Execute an operation on all hosts that it is for. Raise UnknownRequest, and NoHostForOperation for none."""
    outcomes = await OPERATIONS[operation](resources, request_id)
    subjects = SUBJECTS[operation]
    if all(outcome.error is not None and outcome.host.state not in subjects for outcome in outcomes):
        expected = " or ".join(state for state in STATE_ORDER if state in subjects)
        raise NoHostForOperation(request_id=request_id, operation=operation.upper(), expected=expected)
    return outcomes


def _result(operation: str, outcomes: Sequence[Outcome], translate: Callable[[str], str]) -> Result:
    """Return the result of an operation, with the rejections by hosts that the operation is for."""
    rejections = [
        Rejection(
            name=outcome.host.host_name,
            address=f"/tasks/{outcome.host.task_id}",
            message=outcome.error.say(translate),
        )
        for outcome in outcomes
        if outcome.error is not None and outcome.host.state in SUBJECTS[operation]
    ]
    return Result(accepted=sum(outcome.error is None for outcome in outcomes), rejections=rejections)


async def take_over_passed(request: Request) -> Response:
    """Serve POST /requests/{requestId}/takeover: take over the hosts that passed the check."""
    request_id = http_requests.path_id(request, "requestId")
    submitted = await prechecks.take_over_passed(
        http_requests.resources(request), request_id, creator=request.user, trace_id=trace_id(request)
    )
    address = f"{LIST}/{submitted[0][0].request_id}"
    return RedirectResponse(with_note(request, address, Note(operation="takeover")), 303)


def ended(request: SubmittedRequest) -> int:
    """Return the number of hosts that have ended."""
    return sum(request.counts[state] for state in ENDED)


async def _render_list(request: Request, result: Result | None = None, selected: Collection[int] = ()) -> Response:
    """Render the list with its filter, which a rejected operation keeps, as it keeps the selection."""
    resources = http_requests.resources(request)
    query = http_requests.parse_query(request, RequestQuery)
    full = await waiting.full_clusters(resources)
    found, total = await requests.page(resources.database, query.filter, query.page, full)
    address = with_query(request, LIST, page=page_number(request))
    return render(
        request,
        "requests.html",
        requests=found,
        ended=ended,
        states=STATE_ORDER,
        statuses=tuple(RequestStatus),
        workflows=sorted(resources.workflows),
        total=total,
        query=query,
        searched=query.filter
        != RequestFilter(workflow=query.workflow, statuses=query.status, order=query.filter.order),
        result=result,
        selected=selected,
        canonical_address=address if result else "",
        list_query=address.removeprefix(LIST),
        sizes=PAGE_SIZES,
        with_query=lambda **changes: with_query(request, LIST, **changes),
    )


async def _render(request: Request, *, result: Result | None = None, error: TakeoverError | None = None) -> Response:
    resources = http_requests.resources(request)
    request_id = http_requests.path_id(request, "requestId")
    full = await waiting.full_clusters(resources)
    found = await requests.get(resources.database, request_id, full)
    hosts = await requests.hosts(resources.database, request_id, full=full)
    workflow = resources.workflows.get(found.workflow)
    return render(
        request,
        "request.html",
        status=STATUS_CODES[error.kind] if error else 200,
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
        result=result,
        error=error.say(error_translator(language_of(request))) if error else "",
        canonical_address=f"{LIST}/{request_id}" if result or error else "",
    )


def _failures(hosts: Sequence[RequestHost]) -> list[FailureGroup]:
    return failure_groups.group(
        HostFailure(host_name=host.host_name, task_id=host.task_id, subtask=found.subtask, reason=found.message)
        for host in hosts
        for found in host.findings or [Finding(subtask=host.subtask, message=host.reason)]
        if host.state is TaskState.FAILED
    )
