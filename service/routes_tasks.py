"""What can be asked for about task instances (facts/ocp-api.md 2)."""

from service import answers, errors, errors_tasks, schemas
from service import endpoints_tasks as endpoints
from service.openapi import Operation

TASK = "/api/v2/tasks/instances/{taskInstanceId}"
SUBTASK = TASK + "/subtasks/{subtaskInstanceId}"

READ_TASK = "TASK:*:READ"
WORK_ON_TASK = "TASK:*:UPDATE"

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v2/tasks/instances",
        endpoint=endpoints.list_task_instances,
        needs=READ_TASK,
        summary="List task instances; narrowing to an OceanBase cluster or tenant gives none",
        query=schemas.TaskQuery,
        answer=answers.Success[answers.PageOf[answers.BasicTaskInstance]],
        errors=(errors.InvalidRequest,),
    ),
    Operation(
        method="GET",
        path=TASK,
        endpoint=endpoints.get_task_instance,
        needs=READ_TASK,
        summary="One task instance with its subtasks",
        answer=answers.Success[answers.WrappedTaskInstance],
        errors=(errors.InvalidRequest, errors_tasks.UnknownTask),
    ),
    Operation(
        method="POST",
        path=TASK + "/retry",
        endpoint=endpoints.retry_task,
        needs=WORK_ON_TASK,
        summary="Go on with a failed task instance at what has failed; a failed rollback goes on rolling back",
        answer=answers.Success[answers.WrappedTaskInstance],
        errors=(
            errors.InvalidRequest,
            errors_tasks.UnknownTask,
            errors_tasks.OperationNotAllowed,
            errors_tasks.ReadOnly,
            errors_tasks.ServerGone,
            errors_tasks.HostBusy,
        ),
    ),
    Operation(
        method="POST",
        path=TASK + "/rollback",
        endpoint=endpoints.rollback_task,
        needs=WORK_ON_TASK,
        summary="Undo what a failed task instance has done, the last first",
        answer=answers.Success[answers.WrappedTaskInstance],
        errors=(
            errors.InvalidRequest,
            errors_tasks.UnknownTask,
            errors_tasks.OperationNotAllowed,
            errors_tasks.ReadOnly,
            errors_tasks.ServerGone,
            errors_tasks.RollbackProhibited,
            errors_tasks.HostBusy,
        ),
    ),
    Operation(
        method="POST",
        path=TASK + "/downloadDiagnosis",
        endpoint=endpoints.download_diagnosis,
        needs=READ_TASK,
        summary="All that is known of a task instance, as a zip",
        media_type="application/octet-stream",
        errors=(errors.InvalidRequest, errors_tasks.UnknownTask),
    ),
    *(
        Operation(
            method="POST",
            path=f"{SUBTASK}/{word}",
            endpoint=endpoint,
            needs=WORK_ON_TASK,
            summary=summary,
            answer=answer,
            errors=(
                errors.InvalidRequest,
                errors_tasks.UnknownTask,
                errors_tasks.UnknownSubtask,
                errors_tasks.SubtaskOperationNotAllowed,
                errors_tasks.ReadOnly,
                errors_tasks.ServerGone,
                errors_tasks.HostBusy,
            ),
        )
        for word, endpoint, summary, answer in (
            (
                "retry",
                endpoints.retry_subtask,
                "Run a failed subtask again, and what is behind it",
                answers.Success[answers.SubtaskInstance],
            ),
            ("skip", endpoints.skip_subtask, "Take a failed subtask for done, and go on behind it", answers.Done),
            ("cancel", endpoints.cancel_subtask, "End a running subtask and its run", answers.Done),
        )
    ),
    Operation(
        method="GET",
        path=SUBTASK + "/log",
        endpoint=endpoints.get_subtask_log,
        needs=READ_TASK,
        summary="What a subtask's runs have said so far",
        query=schemas.LogQuery,
        answer=answers.Success[answers.SubtaskLog],
        errors=(errors.InvalidRequest, errors_tasks.UnknownTask, errors_tasks.UnknownSubtask),
    ),
)
