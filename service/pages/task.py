"""The page of one task instance: its subtasks as a list or drawn, one of their logs, and what may be done now."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from service.api.request_schemas import DetailQuery, LinesQuery
from service.http import requests
from service.http.envelope import STATUS
from service.model import transitions
from service.model.errors import NoSuchPath, TakeoverError
from service.model.tasks import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.pages import dag_drawing
from service.pages.rendering import render
from service.tasks import instances, operations
from service.tasks.errors import UnknownSubtask, UnknownTask
from service.tasks.instances import Execution
from service.tasks.resources import Resources

LINES_AT_ONCE = 5000  # rows of a log in one answer
COLUMNS = (1, 4, 6)  # of the drawing, on a narrow, a usual, and a wide screen
FOCUS = (
    *(SubtaskStatus.FAILED, SubtaskStatus.CANCELING, SubtaskStatus.RUNNING),
    *(SubtaskStatus.READY, SubtaskStatus.PENDING, SubtaskStatus.SUCCESSFUL),
)  # what a reader wants to see first
LIVELY = (SubtaskStatus.RUNNING, SubtaskStatus.CANCELING)

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
class Shown:
    """A subtask in the list: `legal` is what may be asked of it now; those of a branch are `indented`."""

    subtask: Subtask
    legal: Sequence[Operation]
    indented: bool


async def detail(request: Request) -> Response:
    """GET /tasks/{taskInstanceId}"""
    query = requests.query(request, DetailQuery)
    return await _detail(request, query)


async def operate(request: Request) -> Response:
    """POST /tasks/{taskInstanceId}/{operation}, …/subtasks/{subtaskInstanceId}/{operation}; then the page again."""
    task_id, word = requests.path_id(request, "taskInstanceId"), request.path_params["operation"]
    view = requests.query(request, DetailQuery).view
    subtask = "subtaskInstanceId" in request.path_params
    if word not in (SUBTASK_OPERATIONS if subtask else TASK_OPERATIONS):
        raise NoSuchPath(path=request.scope["path"])
    resources = requests.resources(request)
    try:
        if subtask:
            await SUBTASK_OPERATIONS[word](resources, task_id, requests.path_id(request, "subtaskInstanceId"))
        else:
            await TASK_OPERATIONS[word](resources, task_id)
    except (UnknownTask, UnknownSubtask):
        raise
    except TakeoverError as error:
        return await _detail(request, DetailQuery(view=view), refused=error)
    return RedirectResponse(_address(task_id, view, done=word), 303)


async def lines(request: Request) -> Response:
    """GET /tasks/{taskInstanceId}/subtasks/{subtaskInstanceId}/lines: rows of its log, for the page's script."""
    query = requests.query(request, LinesQuery)
    subtask_id = await _subtask_id(request)
    database = requests.resources(request).database
    rows = await instances.log_rows(database, subtask_id, after=query.after, until=query.until, limit=LINES_AT_ONCE)
    last = rows[-1][0] if rows else query.after
    return JSONResponse({"rows": rows, "next": last, "more": len(rows) == LINES_AT_ONCE})


async def log_file(request: Request) -> Response:
    """GET /tasks/{taskInstanceId}/subtasks/{subtaskInstanceId}/log: the whole log as a file."""
    subtask_id = await _subtask_id(request)
    task_id = requests.path_id(request, "taskInstanceId")
    text, _ = await instances.log(requests.resources(request).database, task_id, subtask_id)
    headers = {"Content-Disposition": f'attachment; filename="subtask_{subtask_id}.log"'}
    return Response(text + "\n", media_type="text/plain", headers=headers)


async def _detail(request: Request, query: DetailQuery, *, refused: TakeoverError | None = None) -> Response:
    resources = requests.resources(request)
    database = resources.database
    task, subtasks = await instances.get(database, requests.path_id(request, "taskInstanceId"))
    selected = _selected(task, subtasks, query.subtask)
    attempts = await instances.executions(database, selected.id)
    failed = [s for s in subtasks if s.status is SubtaskStatus.FAILED] if task.status is TaskStatus.FAILED else []
    return render(
        request,
        "task.html",
        status=STATUS[refused.kind] if refused else 200,
        task=task,
        subtasks=_shown(task, subtasks),
        finished=sum(s.status is SubtaskStatus.SUCCESSFUL for s in subtasks),
        legal=transitions.legal_for_task(task, subtasks),
        prohibited=not transitions.read_only(task) and transitions.rollback_prohibited(task, subtasks),
        why={s.id: await instances.last_log_message(database, s.id) for s in failed},
        failed=failed,
        waits_for=await instances.blocking_tasks(resources, task),
        selected=selected,
        selected_legal=_legal(task, selected),
        attempts=attempts,
        attempt=_attempt(attempts, query.attempt),
        drawings=[dag_drawing.draw(subtasks, columns) for columns in COLUMNS] if query.view == "flow" else [],
        view=query.view,
        chosen=query.subtask is not None,
        lively=selected.status in LIVELY,
        began=min((s.start_time for s in subtasks if s.start_time), default=None),
        ended=max((s.finish_time for s in subtasks if s.finish_time), default=None),
        refused=str(refused) if refused else "",
        address=_address(task.id, query.view) if refused else "",
        done=query.done,
    )


def _address(task_id: int, view: str, **given: str) -> str:
    """The page's own address, in the view that the reader has chosen."""
    shown = {**({} if view == "log" else {"view": view}), **given}
    return f"/tasks/{task_id}" + (f"?{urlencode(shown)}" if shown else "")


def _selected(task: TaskInstance, subtasks: Sequence[Subtask], wanted: int | None) -> Subtask:
    """The subtask whose log is shown: the wanted one, else the one that matters most."""
    if wanted is None:
        return min(subtasks, key=lambda subtask: (FOCUS.index(subtask.status), subtask.id))
    for subtask in subtasks:
        if subtask.id == wanted:
            return subtask
    raise UnknownSubtask(task_id=task.id, subtask_id=wanted)


def _attempt(attempts: Sequence[Execution], after: int | None) -> Execution | None:
    """The attempt that begins behind row `after`, else the newest."""
    return next((attempt for attempt in attempts if attempt.after == after), attempts[0] if attempts else None)


def _shown(task: TaskInstance, subtasks: Sequence[Subtask]) -> list[Shown]:
    beside = {s.id: len(layer) > 1 for layer in dag_drawing.layers_of(subtasks) for s in layer}
    return [Shown(subtask=s, legal=_legal(task, s), indented=beside[s.id]) for s in subtasks]


def _legal(task: TaskInstance, subtask: Subtask) -> list[Operation]:
    return [] if transitions.read_only(task) else transitions.legal_for_subtask(subtask)


async def _subtask_id(request: Request) -> int:
    """The id of the subtask in the path; raises UnknownTask, UnknownSubtask."""
    task_id = requests.path_id(request, "taskInstanceId")
    subtask_id = requests.path_id(request, "subtaskInstanceId")
    _, subtasks = await instances.get(requests.resources(request).database, task_id)
    if subtask_id not in {subtask.id for subtask in subtasks}:
        raise UnknownSubtask(task_id=task_id, subtask_id=subtask_id)
    return subtask_id
