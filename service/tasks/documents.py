"""What the outside sees: rows made into OCP's JSON objects, properties in alphabetical order, absent ones left out.

Shapes and null rules: docs/reference/ocp-api.md 1.2 (takeOver), 2.2 (list), 2.3 (detail).
"""

from collections.abc import Collection, Sequence

from service.model import transitions
from service.model.tasks import BasicSubtask, Subtask, TaskInstance
from service.model.types import JSON
from service.model.wire import present, timestamp, timestamp_or_none


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
    `waitsFor` are the task instances that must end before this one gets a worker, and `supersededBy` is the next task
    instance of the same OBProxy server: then this one offers no operation.
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
        operations=transitions.legal_for_task(task, subtasks),
        prohibitRollback=task.prohibit_rollback,
        startTime=timestamp(task.start_time),
        status=task.status,
        subtasks=[subtask(s, read_only=transitions.read_only(task)) for s in subtasks],
        supersededBy=task.superseded_by,
        taskDefinitionId=task.task_definition_id,
        type=task.type,
        waitsFor=list(waits_for) or None,
    )


def basic(task: TaskInstance, subtasks: Collection[BasicSubtask]) -> JSON:
    """A BasicTaskInstance, the list's element; beyond OCP, `hostName` and `supersededBy`."""
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
        supersededBy=task.superseded_by,
    )


def subtask(row: Subtask, *, read_only: bool = False) -> JSON:
    """A SubtaskInstance of the task API; `read_only` = one of a task instance that nothing may be asked of."""
    return dict(
        sorted(
            present(
                createTime=timestamp(row.create_time.replace(microsecond=0)),
                executor=row.executor,
                finishTime=timestamp_or_none(row.finish_time),
                operations=[] if read_only else transitions.legal_for_subtask(row),
                startTime=timestamp_or_none(row.start_time),
                **_submitted(row),
            ).items()
        )
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
