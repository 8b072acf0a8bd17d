"""Endpoints that read OBProxy clusters, parameters, hosts and exporters (docs/reference/ocp-api.md 1)."""

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.access.roles import READ_HOST, READ_OBPROXY
from service.api.queries import ClusterQuery, HostQuery, ParameterInfoQuery
from service.fleet import clusters, hosts, parameters, prometheus
from service.fleet import documents as fleet_documents
from service.http import envelope_schema, requests
from service.http.envelope import list_data, page_data, success_response
from service.http.openapi import Operation
from service.model import errors as model_errors

CLUSTERS = "/api/v2/obproxy/clusters"
CLUSTER = CLUSTERS + "/{id}"


class Exporters(RootModel[list[prometheus.Target]]):
    """Target groups of all exporters."""


async def list_clusters(request: Request) -> Response:
    """List OBProxy clusters: GET /api/v2/obproxy/clusters."""
    query = requests.parse_query(request, ClusterQuery)
    found, total = await clusters.page(requests.resources(request), query.page, query.order)
    return success_response(request, page_data(map(fleet_documents.obproxy_cluster, found), query.page, total))


async def get_cluster(request: Request) -> Response:
    """Return an OBProxy cluster: GET /api/v2/obproxy/clusters/{id}."""
    found = await clusters.get(requests.resources(request), requests.path_id(request, "id"))
    return success_response(request, fleet_documents.obproxy_cluster(found))


async def list_cluster_parameters(request: Request) -> Response:
    """List the parameters of a cluster: GET /api/v2/obproxy/clusters/{id}/parameters."""
    found = await parameters.of_cluster(requests.resources(request), requests.path_id(request, "id"))
    return success_response(request, list_data(map(fleet_documents.cluster_parameter, found)))


async def list_parameter_infos(request: Request) -> Response:
    """List parameter descriptions: GET /api/v2/obproxy/parameterInfo."""
    query = requests.parse_query(request, ParameterInfoQuery)
    found = await parameters.infos(requests.resources(request), name=query.name, version=query.version)
    return success_response(request, list_data(map(fleet_documents.parameter_info, found)))


async def list_hosts(request: Request) -> Response:
    """List hosts: GET /api/v2/compute/hosts."""
    query = requests.parse_query(request, HostQuery)
    found, total = await hosts.page(requests.resources(request), query.filter, query.page)
    return success_response(request, page_data(map(fleet_documents.host, found), query.page, total))


async def get_host(request: Request) -> Response:
    """Return a host: GET /api/v2/compute/hosts/{hostId}."""
    found = await hosts.get(requests.resources(request), requests.path_id(request, "hostId"))
    return success_response(request, fleet_documents.host(found))


async def list_exporters(request: Request) -> Response:
    """List exporters in the format of Prometheus, without an envelope: GET /api/v2/obproxy/exporters."""
    return JSONResponse(await prometheus.targets(requests.resources(request).database))


OPERATIONS = (
    Operation(
        method="GET",
        path=CLUSTERS,
        endpoint=list_clusters,
        permission=READ_OBPROXY,
        summary="List OBProxy clusters with their servers",
        query=ClusterQuery,
        response=envelope_schema.Success[envelope_schema.PageOf[fleet_documents.ObproxyCluster]],
        errors=(model_errors.InventoryUnreadable,),
    ),
    Operation(
        method="GET",
        path=CLUSTER,
        endpoint=get_cluster,
        permission=READ_OBPROXY,
        summary="Get an OBProxy cluster with its servers",
        response=envelope_schema.Success[fleet_documents.ObproxyCluster],
        errors=(model_errors.UnknownCluster, model_errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path=CLUSTER + "/parameters",
        endpoint=list_cluster_parameters,
        permission=READ_OBPROXY,
        summary="List the parameters of an OBProxy cluster by name; each value has the servers with it",
        response=envelope_schema.Success[envelope_schema.Contents[fleet_documents.ClusterParameter]],
        errors=(model_errors.UnknownCluster, model_errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/parameterInfo",
        endpoint=list_parameter_infos,
        permission=READ_OBPROXY,
        summary="List the parameter descriptions of each discovered OBProxy version",
        query=ParameterInfoQuery,
        response=envelope_schema.Success[envelope_schema.Contents[fleet_documents.ParameterInfo]],
    ),
    Operation(
        method="GET",
        path="/api/v2/compute/hosts",
        endpoint=list_hosts,
        permission=READ_HOST,
        summary="List the hosts of the inventory; hosts with a managed OBProxy server have services",
        query=HostQuery,
        response=envelope_schema.Success[envelope_schema.PageOf[fleet_documents.Host]],
        errors=(model_errors.InventoryUnreadable,),
    ),
    Operation(
        method="GET",
        path="/api/v2/compute/hosts/{hostId}",
        endpoint=get_host,
        permission=READ_HOST,
        summary="Get a host of the inventory",
        response=envelope_schema.Success[fleet_documents.Host],
        errors=(model_errors.UnknownHost, model_errors.InventoryUnreadable),
    ),
    Operation(
        method="GET",
        path="/api/v2/obproxy/exporters",
        endpoint=list_exporters,
        permission=READ_OBPROXY,
        summary="List the exporters of the OBProxy servers, for the HTTP service discovery of Prometheus",
        response=Exporters,
    ),
)
