"""What can be asked for about OBProxy clusters, servers and hosts (facts/ocp-api.md 1)."""

from service import answers, answers_clusters, errors, schemas
from service import endpoints_obproxy as endpoints
from service.openapi import Operation

TAKE_OVER = "OBPROXY:*:UPDATE"
READ_OBPROXY = "OBPROXY:*:READ"
READ_HOST = "HOST:*:READ"

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
    Operation(
        method="GET",
        path="/api/v2/obproxy/clusters",
        endpoint=endpoints.list_clusters,
        needs=READ_OBPROXY,
        summary="List OBProxy clusters with their servers, by id",
        query=schemas.PageQuery,
        answer=answers.Success[answers.PageOf[answers_clusters.ObproxyCluster]],
        errors=(errors.InvalidRequest, errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/clusters/{id}",
        endpoint=endpoints.get_cluster,
        needs=READ_OBPROXY,
        summary="One OBProxy cluster with its servers",
        answer=answers.Success[answers_clusters.ObproxyCluster],
        errors=(errors.InvalidRequest, errors.UnknownCluster, errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/compute/hosts",
        endpoint=endpoints.list_hosts,
        needs=READ_HOST,
        summary="List the hosts of the inventory; those with an OBProxy server that was taken over have services",
        query=schemas.HostQuery,
        answer=answers.Success[answers.PageOf[answers_clusters.Host]],
        errors=(errors.InvalidRequest, errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/compute/hosts/{hostId}",
        endpoint=endpoints.get_host,
        needs=READ_HOST,
        summary="One host of the inventory",
        answer=answers.Success[answers_clusters.Host],
        errors=(errors.InvalidRequest, errors.UnknownHost, errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/exporters",
        endpoint=endpoints.list_exporters,
        needs=READ_OBPROXY,
        summary="Exporters of the OBProxy servers, for Prometheus' HTTP service discovery",
        answer=answers_clusters.Exporters,
    ),
)
