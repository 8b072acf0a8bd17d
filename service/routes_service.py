"""What can be asked for about the service itself."""

from service import answers, errors, schemas
from service import endpoints_service as endpoints
from service.openapi import Operation
from service.permissions import ANY_USER, ANYBODY

READ_TASK = "TASK:*:READ"
READ_AUDIT = "AUDIT:*:READ"

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v2/audit/events",
        endpoint=endpoints.list_audit_events,
        needs=READ_AUDIT,
        summary="Who has changed what, or tried to, the newest first",
        query=schemas.AuditQuery,
        answer=answers.Success[answers.PageOf[answers.AuditEvent]],
        errors=(errors.InvalidRequest,),
    ),
    Operation(
        method="GET",
        path="/api/v2/info",
        endpoint=endpoints.info,
        needs=ANY_USER,
        summary="What this service is",
        answer=answers.Info,
    ),
    Operation(
        method="GET",
        path="/api/v2/time",
        endpoint=endpoints.server_time,
        needs=ANYBODY,
        summary="What time it is here",
    ),
    Operation(
        method="GET",
        path="/api/status",
        endpoint=endpoints.status,
        needs=ANYBODY,
        summary="okay, or bad when the database does not answer",
        texts={503: "bad"},
    ),
    Operation(
        method="GET",
        path="/health/live",
        endpoint=endpoints.live,
        needs=ANYBODY,
        summary="alive, as long as the process answers",
    ),
    Operation(
        method="GET",
        path="/health/ready",
        endpoint=endpoints.ready,
        needs=ANYBODY,
        summary="ready, or not ready when the database does not answer",
        texts={503: "not ready"},
    ),
    Operation(
        method="GET",
        path="/metrics",
        endpoint=endpoints.prometheus_metrics,
        needs=READ_TASK,
        summary="What Prometheus is to know of the service and of this process",
    ),
)
