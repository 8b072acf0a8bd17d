"""What the outside sees: rows made into OCP's JSON objects, properties in alphabetical order, absent ones left out.

Shapes and null rules: facts/ocp-api.md 1.2 (takeOver), 2.2 (list), 2.3 (detail).
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from service import state
from service.types import JSON, AuditEvent, BasicSubtask, Subtask, TaskInstance

_TIME = len("2021-09-03T16:25:08.021")


def timestamp(moment: datetime) -> str:
    """ISO 8601 with offset, 0 to 3 fraction digits, trailing zeros dropped."""
    written = moment.astimezone().isoformat(timespec="milliseconds")
    time, offset = written[:_TIME], written[_TIME:]
    return time.rstrip("0").rstrip(".") + ("Z" if offset == "+00:00" else offset)


def task_instance(task: TaskInstance, subtasks: Collection[Subtask]) -> JSON:
    """A TaskInstance as takeOver answers it: `creator` is a string, `context` is there, subtasks carry `className`."""
    return present(
        context={
            "listMap": dict(sorted(task.context["listMap"].items())),
            "parallel": False,
            "parallelIdx": -1,
            "stringMap": dict(sorted(task.context["stringMap"].items())),
        },
        creator=task.creator,
        executor=task.executor,
        hostId=task.host_id,
        id=task.id,
        name=task.name,
        operation=task.operation,
        startTime=timestamp(task.start_time),
        status=task.status,
        subtasks=[{"className": s.class_name, **_submitted(s)} for s in subtasks],
        taskDefinitionId=task.task_definition_id,
        type=task.type,
    )


def wrapped(task: TaskInstance, subtasks: Collection[Subtask], waits_for: Sequence[int] = ()) -> JSON:
    """A WrappedTaskInstance, the detail: `creator` is an object, no `context`; subtasks carry their times.

    Beyond OCP, `hostName` says of which host, `operations` of it and of each subtask are what may be asked of it now,
    and `waitsFor` are the task instances that must end before this one gets a worker.
    """
    return present(
        createTime=timestamp(task.create_time.replace(microsecond=0)),
        creator={"id": task.creator_id, "name": task.creator},
        executor=task.executor,
        finishTime=timestamp_or_none(task.finish_time),
        hostName=task.host_name,
        id=task.id,
        name=task.name,
        operation=task.operation,
        operations=state.legal_for_task(task, subtasks),
        prohibitRollback=task.prohibit_rollback,
        startTime=timestamp(task.start_time),
        status=task.status,
        subtasks=[subtask(s, read_only=state.read_only(task)) for s in subtasks],
        taskDefinitionId=task.task_definition_id,
        type=task.type,
        waitsFor=list(waits_for) or None,
    )


def basic(task: TaskInstance, subtasks: Collection[BasicSubtask]) -> JSON:
    """A BasicTaskInstance, the list's element; beyond OCP, `hostName` says of which host."""
    return present(
        creator={"id": task.creator_id, "name": task.creator},
        finishTime=timestamp_or_none(task.finish_time),
        hostName=task.host_name,
        id=task.id,
        name=task.name,
        startTime=timestamp(task.start_time),
        status=task.status,
        subtasks=[
            present(description=s.description, id=s.id, name=s.name, operation=s.operation, status=s.status)
            for s in subtasks
        ],
    )


def subtask(row: Subtask, *, read_only: bool = False) -> JSON:
    """A SubtaskInstance of the task API; `read_only` = one of a task instance that nothing may be asked of."""
    return dict(
        sorted(
            present(
                createTime=timestamp(row.create_time.replace(microsecond=0)),
                executor=row.executor,
                finishTime=timestamp_or_none(row.finish_time),
                operations=[] if read_only else state.legal_for_subtask(row),
                startTime=timestamp_or_none(row.start_time),
                **_submitted(row),
            ).items()
        )
    )


def audit_event(row: AuditEvent) -> JSON:
    """One call of the record of what was changed."""
    return present(
        calls=row.calls,
        client=row.client,
        id=row.id,
        method=row.method,
        path=row.path,
        status=row.status,
        time=timestamp(row.time),
        traceId=row.trace_id,
        userName=row.user_name,
    )


def _submitted(row: Subtask) -> JSON:
    """The fields a subtask has from the moment it is submitted."""
    return present(
        description=row.description,
        downstreams=list(row.downstreams),
        id=row.id,
        name=row.name,
        nodeType=row.node_type,
        operation=row.operation,
        parallelIdx=row.parallel_idx,
        prohibitRollback=row.prohibit_rollback,
        runTime=row.run_time,
        seriesId=row.series_id,
        status=row.status,
        timeout=row.timeout,
        upstreams=list(row.upstreams),
    )


def present(**properties: object) -> JSON:
    """An object without the properties that are not there (facts/ocp-api.md 1.2)."""
    return {name: value for name, value in properties.items() if value is not None}


def timestamp_or_none(moment: datetime | None) -> str | None:
    """The same, of a moment that may not have come yet."""
    return timestamp(moment) if moment else None
