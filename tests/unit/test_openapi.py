"""The OpenAPI description has the same paths, methods, parameters and types as the route table."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from scripts import openapi
from service.access.roles import PUBLIC
from service.http import requests
from service.http.envelope_schema import ResponseModel
from service.http.openapi import Operation, Resource, describe
from service.model.types import JSON
from service.pages.routes import PAGES
from service.routes import OPERATIONS, RESOURCES, routes


@pytest.fixture(scope="module")
def description() -> JSON:
    return describe(RESOURCES, "1.2.3")


def described_operations(description: JSON) -> Iterator[tuple[str, str, JSON]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_describes_every_route_and_no_other(description: JSON) -> None:
    routed = {
        (method, route.path)
        for route in routes()
        for method in (route.methods or set()) - {"HEAD"}
        if route.path not in {"/openapi.json", "/docs", *(page.path for page in PAGES)}
    }

    assert {(method, path) for method, path, _ in described_operations(description)} == routed


def test_every_reference_leads_somewhere(description: JSON) -> None:
    def references(value: Any) -> Iterator[str]:
        match value:
            case {"$ref": str(reference)}:
                yield reference
            case dict():
                for inner in value.values():
                    yield from references(inner)
            case list():
                for inner in value:
                    yield from references(inner)

    schemas = description["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(description)} == set(schemas)


def test_every_schema_is_one(description: JSON) -> None:
    for schema in description["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_path_parameter_is_described(description: JSON) -> None:
    for _, path, operation in described_operations(description):
        names = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"]
        assert names == re.findall(r"{(\w+)}", path)


def test_only_open_routes_are_without_security(description: JSON) -> None:
    unprotected = {path for _, path, operation in described_operations(description) if operation.get("security") == []}

    assert description["security"] == [{"basic": []}, {"accessKey": []}]
    assert set(description["components"]["securitySchemes"]) == {"basic", "accessKey"}
    assert unprotected == {"/api/v2/time", "/api/status", "/health/live", "/health/ready"}


def test_integers_have_the_size_that_their_limits_need(description: JSON) -> None:
    def integers(value: Any) -> Iterator[JSON]:
        match value:
            case {"type": "integer"}:
                yield value
            case dict():
                for inner in value.values():
                    yield from integers(inner)
            case list():
                for inner in value:
                    yield from integers(inner)

    found = list(integers(description))
    assert {schema["format"] for schema in found} == {"int32", "int64"}
    for schema in found:
        small = "maximum" in schema and schema["maximum"] < 2**31 and schema["minimum"] >= -(2**31)
        assert schema["format"] == ("int32" if small else "int64"), schema


def test_the_first_event_number_is_zero(description: JSON) -> None:
    parameters = description["paths"]["/api/v2/tasks/instances/{taskInstanceId}/events"]["get"]["parameters"]
    (after,) = (parameter["schema"] for parameter in parameters if parameter["name"] == "after")

    assert (after["minimum"], after["maximum"]) == (0, 2**63 - 1)
    assert "ge" not in after


def test_headers_have_the_pattern_that_a_request_is_checked_with(description: JSON) -> None:
    parameters = description["paths"]["/api/v2/obproxy/clusters/{id}/takeOver"]["post"]["parameters"]
    (key,) = (parameter for parameter in parameters if parameter["in"] == "header")

    assert key["name"] == "Idempotency-Key"
    assert key["schema"]["pattern"] == requests.IDEMPOTENCY_KEY.pattern == "^[!-~]{1,255}$"


def test_every_operation_may_be_unavailable_except_liveness(description: JSON) -> None:
    for _, path, operation in described_operations(description):
        assert ("503" in operation["responses"]) is (path != "/health/live"), path
        assert ("401" in operation["responses"]) is (operation.get("security") != []), path


def test_a_download_is_binary(description: JSON) -> None:
    path = "/api/v2/tasks/instances/{taskInstanceId}/downloadDiagnosis"
    content = description["paths"][path]["post"]["responses"]["200"]["content"]

    assert content == {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def test_the_document_in_the_repository_is_the_one_of_the_service() -> None:
    assert openapi.DOCUMENT.read_text(encoding="utf-8") == openapi.text(), "run `make openapi`"


def test_operation_ids_are_unique(description: JSON) -> None:
    ids = [operation["operationId"] for _, _, operation in described_operations(description)]

    assert len(ids) == len(set(ids)) == len(OPERATIONS)


def test_describes_the_query_of_the_list(description: JSON) -> None:
    parameters = description["paths"]["/api/v2/tasks/instances"]["get"]["parameters"]
    by_name = {parameter["name"]: parameter for parameter in parameters}

    assert set(by_name) == {
        *("name", "status", "state", "type", "hostId", "page", "size", "sort"),
        *("hostName", "obproxyCluster", "creator", "startAfter", "startBefore"),
        *("clusterId", "clusterName", "cluterName", "tenantId", "tenantName"),
    }
    assert by_name["size"]["schema"]["maximum"] == 2000
    assert by_name["size"]["schema"]["default"] == 10
    assert by_name["status"]["explode"] is False
    assert "default" not in by_name["name"]["schema"]


def test_describes_the_errors_of_takeover_by_status(description: JSON) -> None:
    responses = description["paths"]["/api/v2/obproxy/clusters/{id}/takeOver"]["post"]["responses"]

    assert set(responses) == {"200", "400", "401", "403", "404", "409", "413", "415", "429", "500", "503"}
    assert responses["404"]["description"] == "UnknownCluster (code 21001); UnknownHost (code 7005)"


def test_describes_the_bad_status(description: JSON) -> None:
    responses = description["paths"]["/api/status"]["get"]["responses"]

    assert set(responses) == {"200", "500", "503"}
    assert responses["503"]["content"] == {"text/plain": {"schema": {"type": "string", "const": "bad"}}}


def test_describes_the_permission(description: JSON) -> None:
    by_id = {operation["operationId"]: operation for _, _, operation in described_operations(description)}

    assert by_id["take_over"]["description"] == "Requires the permission OBPROXY:*:UPDATE."
    assert by_id["info"]["description"] == "Requires a user."
    assert by_id["live"]["description"] == "Requires no user."


def test_only_a_host_and_a_parameter_have_null(description: JSON) -> None:
    schemas = dict(description["components"]["schemas"])
    host, summary, parameter = (schemas.pop(name) for name in ("Host", "ServiceSummary", "ParameterInfo"))

    assert "null" not in str({**description, "components": schemas}).lower()
    assert host["properties"]["alias"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Alias"}
    for always in (host, summary, parameter):
        assert set(always["required"]) == set(always["properties"])


def test_answers_are_closed(description: JSON) -> None:
    def below(model: type[ResponseModel]) -> Iterator[type[ResponseModel]]:
        yield model
        for inner in model.__subclasses__():
            yield from below(inner)

    assert all(model.model_config["extra"] == "forbid" for model in below(ResponseModel))
    for name in ("WrappedTaskInstance", "SubtaskInstance", "ObproxyCluster", "Host", "AuditEvent", "SubtaskLog"):
        assert description["components"]["schemas"][name]["additionalProperties"] is False


def test_optional_properties_of_documents_may_be_absent_and_are_never_null(description: JSON) -> None:
    task = description["components"]["schemas"]["WrappedTaskInstance"]

    assert set(task["properties"]) - set(task["required"]) == {
        *("finishTime", "heldBy", "obproxyServerId", "requestId", "supersededBy", "waitsFor", "waitsForHosts")
    }
    assert task["properties"]["finishTime"] == {"format": "date-time", "title": "Finishtime", "type": "string"}


def test_an_operation_without_anything_is_plain_text() -> None:
    plain = Operation(method="GET", path="/x", endpoint=OPERATIONS[0].endpoint, summary="x", permission=PUBLIC)

    described = describe([Resource("x", "X", [plain])], "1")["paths"]["/x"]["get"]

    assert described["responses"]["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}
    assert described["parameters"] == []
