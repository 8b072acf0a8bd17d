"""What can be asked for about OBProxy clusters and servers (facts/ocp-api.md 1)."""

from service import answers, errors, schemas
from service import endpoints_obproxy as endpoints
from service.openapi import Operation

TAKE_OVER = "OBPROXY:*:UPDATE"

OPERATIONS = (
    Operation(
        method="POST",
        path="/api/v2/obproxy/clusters/{id}/takeOver",
        endpoint=endpoints.take_over,
        needs=TAKE_OVER,
        summary="Take running OBProxy processes over into an OBProxy cluster; one task instance a host",
        body=schemas.TakeOverParam,
        headers={"Idempotency-Key": "The same key and request within 24 hours: the same answer, nothing done again"},
        answer=answers.Success[answers.Contents[answers.TaskInstance]],
        errors=(
            errors.InvalidRequest,
            errors.MalformedBody,
            errors.UnknownCluster,
            errors.UnknownHost,
            errors.HostBusy,
            errors.AlreadyManaged,
            errors.KeyReused,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InventoryUnreadable,
        ),
    ),
    Operation(
        method="POST",
        path="/api/v2/obproxy/externalRuns",
        endpoint=endpoints.record_external_run,
        needs=TAKE_OVER,
        summary="Record a run on one host that was started by hand; the same uuid again is answered the same",
        body=schemas.ExternalRunParam,
        answer=answers.Success[answers.WrappedTaskInstance],
        errors=(
            errors.InvalidRequest,
            errors.MalformedBody,
            errors.UnknownCluster,
            errors.UnknownHost,
            errors.HostBusy,
            errors.AlreadyManaged,
            errors.RunRecorded,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InventoryUnreadable,
        ),
    ),
)
