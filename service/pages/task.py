"""Page of one task instance: its subtasks as a list or a drawing, the log of one of them, and legal operations."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from service.http import requests
from service.http.envelope import STATUS_CODES
from service.http.languages import error_translator
from service.model import transitions
from service.model.changes import changes_of
from service.model.errors import NoSuchPath, TakeoverError
from service.model.states import TaskState, subtask_state
from service.model.tasks import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.outcome import failed_rules
from service.outcome.failed_rules import RuleFailure
from service.pages import dag_drawing, remedies
from service.pages.addresses import Note, with_note
from service.pages.dag_drawing import Drawing
from service.pages.queries import DetailQuery, LinesQuery
from service.pages.rendering import language_of, render
from service.store.database import Database
from service.tasks import instances, operations, waiting
from service.tasks.errors import UnknownSubtask, UnknownTask
from service.tasks.instances import Execution
from service.tasks.resources import Resources

LINES_LIMIT = 5000  # log rows in one response
COLUMNS = (1, 4, 6)  # of the drawing on a narrow, a medium and a wide screen
STATUS_PRIORITY = (
    *(SubtaskStatus.FAILED, SubtaskStatus.CANCELING, SubtaskStatus.RUNNING),
    *(SubtaskStatus.READY, SubtaskStatus.PENDING, SubtaskStatus.SUCCESSFUL),
)  # the subtask with the first of these is selected by default
RUNNING_STATUSES = (SubtaskStatus.RUNNING, SubtaskStatus.CANCELING)

TASK_OPERATIONS: dict[str, Callable[[Resources, int], Awaitable[None]]] = {
    "retry": operations.retry_task,
    "rollback": operations.rollback_task,
}
SUBTASK_OPERATIONS: dict[str, Callable[[Resources, int, int], Awaitable[None]]] = {
    "retry": operations.retry_subtask,
    "skip": operations.skip_subtask,
    "cancel": operations.cancel_subtask,
}


@dataclass(frozen=True, kw_only=True)
class SubtaskRow:
    """A subtask in the list, with its state and legal operations; subtasks of a branch are `indented`."""

    subtask: Subtask
    state: SubtaskStatus | TaskState
    legal: Sequence[Operation]
    indented: bool


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed subtask with its error message, and the failed rules of that message."""

    subtask: Subtask
    message: str
    rules: RuleFailure | None


async def show_task(request: Request) -> Response:
    """Serve GET /tasks/{taskInstanceId}."""
    query = requests.parse_query(request, DetailQuery)
    return await _render_task(request, query)


async def execute_operation(request: Request) -> Response:
    """Serve POST /tasks/{taskInstanceId}/{operation} and …/subtasks/{subtaskInstanceId}/{operation}."""
    task_id, operation = requests.path_id(request, "taskInstanceId"), request.path_params["operation"]
    view = requests.parse_query(request, DetailQuery).view
    subtask = "subtaskInstanceId" in request.path_params
    if operation not in (SUBTASK_OPERATIONS if subtask else TASK_OPERATIONS):
        raise NoSuchPath(path=request.scope["path"])
    resources = requests.resources(request)
    try:
        if subtask:
            await SUBTASK_OPERATIONS[operation](resources, task_id, requests.path_id(request, "subtaskInstanceId"))
        else:
            await TASK_OPERATIONS[operation](resources, task_id)
    except (UnknownTask, UnknownSubtask):
        raise
    except TakeoverError as error:
        return await _render_task(request, DetailQuery(view=view), error=error)
    return RedirectResponse(with_note(request, _task_address(task_id, view), Note(operation=operation)), 303)


async def log_lines(request: Request) -> Response:
    """Serve GET /tasks/{taskInstanceId}/subtasks/{subtaskInstanceId}/lines: rows of the log, as JSON."""
    query = requests.parse_query(request, LinesQuery)
    subtask_id = await _subtask_id(request)
    database = requests.resources(request).database
    rows = await instances.log_rows(database, subtask_id, after=query.after, until=query.until, limit=LINES_LIMIT)
    last = rows[-1][0] if rows else query.after
    return JSONResponse({"rows": rows, "next": last, "more": len(rows) == LINES_LIMIT})


async def download_log(request: Request) -> Response:
    """Serve GET /tasks/{taskInstanceId}/subtasks/{subtaskInstanceId}/log: the whole log as a file."""
    subtask_id = await _subtask_id(request)
    task_id = requests.path_id(request, "taskInstanceId")
    text, _ = await instances.log(requests.resources(request).database, task_id, subtask_id)
    headers = {"Content-Disposition": f'attachment; filename="subtask_{subtask_id}.log"'}
    return Response(text + "\n", media_type="text/plain", headers=headers)


async def _render_task(request: Request, query: DetailQuery, *, error: TakeoverError | None = None) -> Response:
    resources = requests.resources(request)
    database = resources.database
    task, subtasks = await instances.get(database, requests.path_id(request, "taskInstanceId"))
    selected = _selected(task, subtasks, query.subtask)
    executions = await instances.executions(database, selected.id)
    progress = await waiting.progress(resources, task)
    failed = [s for s in subtasks if s.status is SubtaskStatus.FAILED] if task.status is TaskStatus.FAILED else []
    failures = [await _failure(database, subtask) for subtask in failed]
    fixable = not transitions.read_only(task) and task.operation is not Operation.ROLLBACK
    remedy = remedies.remedy_of(failure.rules for failure in failures) if fixable else None
    return render(
        request,
        "task.html",
        status=STATUS_CODES[error.kind] if error else 200,
        task=task,
        subtasks=_subtask_rows(task, subtasks, progress.state),
        finished=sum(s.status is SubtaskStatus.SUCCESSFUL for s in subtasks),
        legal=transitions.legal_for_task(task, subtasks),
        prohibited=not transitions.read_only(task) and transitions.rollback_prohibited(task, subtasks),
        failures=failures,
        remedy=remedy,
        takeover_address=await remedies.takeover_address(database, task, remedy) if remedy else None,
        progress=progress,
        selected=selected,
        selected_state=subtask_state(selected, progress.state),
        selected_legal=_legal(task, selected),
        executions=executions,
        changes=changes_of(selected),
        execution=_execution(executions, query.attempt),
        drawings=_drawings(task, subtasks) if query.view == "flow" else [],
        states={s.id: subtask_state(s, progress.state) for s in subtasks},
        view=query.view,
        subtask_requested=query.subtask is not None,
        log_grows=selected.status in RUNNING_STATUSES,
        error=error.say(error_translator(language_of(request))) if error else "",
        canonical_address=_task_address(task.id, query.view) if error else "",
    )


async def _failure(database: Database, subtask: Subtask) -> Failure:
    message = await instances.last_log_message(database, subtask.id)
    return Failure(subtask=subtask, message=message, rules=failed_rules.parse(message))


def _task_address(task_id: int, view: str) -> str:
    """Return the address of the page of a task instance in a view."""
    return f"/tasks/{task_id}" + ("" if view == "log" else f"?{urlencode({'view': view})}")


def _selected(task: TaskInstance, subtasks: Sequence[Subtask], subtask_id: int | None) -> Subtask:
    """Return the subtask whose log is shown: the requested one, else the first by STATUS_PRIORITY."""
    if subtask_id is None:
        return min(subtasks, key=lambda subtask: (STATUS_PRIORITY.index(subtask.status), subtask.id))
    for subtask in subtasks:
        if subtask.id == subtask_id:
            return subtask
    raise UnknownSubtask(task_id=task.id, subtask_id=subtask_id)


def _execution(executions: Sequence[Execution], after: int | None) -> Execution | None:
    """Return the execution whose first row follows row `after`, else the newest execution."""
    return next(
        (execution for execution in executions if execution.after == after), executions[0] if executions else None
    )


def _subtask_rows(task: TaskInstance, subtasks: Sequence[Subtask], state: TaskState) -> list[SubtaskRow]:
    in_branch = {s.id: len(layer) > 1 for layer in dag_drawing.layers_of(subtasks) for s in layer}
    return [
        SubtaskRow(subtask=s, state=subtask_state(s, state), legal=_legal(task, s), indented=in_branch[s.id])
        for s in subtasks
    ]


def _drawings(task: TaskInstance, subtasks: Sequence[Subtask]) -> list[Drawing]:
    backward = task.operation is Operation.ROLLBACK
    return [dag_drawing.draw(subtasks, columns, backward=backward) for columns in COLUMNS]


def _legal(task: TaskInstance, subtask: Subtask) -> list[Operation]:
    return [] if transitions.read_only(task) else transitions.legal_for_subtask(subtask)


async def _subtask_id(request: Request) -> int:
    """Return the id of the subtask in the path. Raise UnknownTask, UnknownSubtask."""
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    _, subtasks = await instances.get(requests.resources(request).database, task_id)
    if subtask_id not in {subtask.id for subtask in subtasks}:
        raise UnknownSubtask(task_id=task_id, subtask_id=subtask_id)
    return subtask_id
