"""Domain errors about task instances, subtasks and their OBProxy servers."""

from service.model.errors import Kind, TakeoverError


class UnknownTask(TakeoverError):
    """Task instance {task_id} does not exist."""

    kind = Kind.NOT_FOUND
    code = 4001


class UnknownSubtask(TakeoverError):
    """Task instance {task_id} has no subtask {subtask_id}."""

    kind = Kind.NOT_FOUND
    code = 4001


class UnknownRequest(TakeoverError):
    """Request {request_id} does not exist."""

    kind = Kind.NOT_FOUND
    code = 4001


class NoHostForOperation(TakeoverError):
    """Request {request_id} has no host for {operation}: no host is {expected}."""

    kind = Kind.CONFLICT
    code = 4007


class NoHostPassed(TakeoverError):
    """Request {request_id} has no host that passed a check within a day and was not checked or taken over since."""

    kind = Kind.CONFLICT
    code = 1005


class HostBusy(TakeoverError):
    """Host {host_id} already has a running task instance: {task_id}."""

    kind = Kind.CONFLICT
    code = 1005


class AlreadyManaged(TakeoverError):
    """OBProxy on host {host_id} at port {sql_port} is already managed: server {server_id} of cluster {cluster}."""

    kind = Kind.CONFLICT
    code = 1005


class IdempotencyKeyReused(TakeoverError):
    """Idempotency-Key {key} was used for another request within the last 24 hours."""

    kind = Kind.CONFLICT
    code = 1005


class RunAlreadyRecorded(TakeoverError):
    """Run {run} is already recorded with other data: task instance {task_id} of host {host_id}."""

    kind = Kind.CONFLICT
    code = 1005


class OperationNotAllowed(TakeoverError):
    """Task instance {task_id} is {found}; {operation} needs it to be {expected}."""

    code = 4007


class SubtaskOperationNotAllowed(TakeoverError):
    """Subtask {subtask_id} is {found}; {operation} needs it to be {expected}."""

    code = 4007


class ReadOnly(TakeoverError):
    """Task instance {task_id} records an external run. Run its playbook again to continue it."""

    code = 4007


class ServerGone(TakeoverError):
    """Another rollback has removed the OBProxy server of task instance {task_id}. Submit a new takeover."""

    code = 4007


class Superseded(TakeoverError):
    """Task instance {task_id} is superseded: use task instance {newer} of the same OBProxy server."""

    code = 4007


class RollbackProhibited(TakeoverError):
    """Task instance {task_id} cannot be rolled back: a subtask that has started prohibits rollback."""

    code = 4009


class IllegalTransition(TakeoverError):
    """Subtask {subtask_id} is {found}; {operation} needs it to be {expected}."""

    kind = Kind.CONFLICT
    code = 4007
