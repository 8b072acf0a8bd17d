"""Operations, the entries of the API's route table, and the OpenAPI document that is generated from them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from service.access import request_signatures, roles
from service.access.errors import Forbidden, RateLimited, SignatureUsed, Unauthenticated
from service.http.connection_limits import HEALTH_PATHS
from service.http.envelope import INTERNAL_SERVER_ERROR, STATUS_CODES
from service.http.envelope_schema import Failure
from service.http.request_types import Header, RequestModel
from service.model.errors import DatabaseLost, DatabaseNotWritable, InvalidRequest, Overloaded, TakeoverError
from service.model.types import JSON

EVENT_STREAM = "text/event-stream"
BINARY = {"type": "string", "format": "binary"}

COMPONENT = "#/components/schemas/{model}"

DESCRIPTION = (
    "Unknown query parameters are rejected with 400; unknown fields of a body are ignored. "
    "Integers of a body may be strings. A path with a trailing slash is the same resource."
)

CONTACT = {"name": "The administrators of this service"}
SERVERS = [{"url": "/", "description": "The service that returned this document"}]

SECURITY_SCHEMES: JSON = {
    "basic": {"type": "http", "scheme": "basic", "description": "A user's name and password."},
    "accessKey": {
        "type": "http",
        "scheme": request_signatures.SCHEME,
        "description": f"`{request_signatures.SCHEME} ACCESS_KEY:SIGNATURE` by OCP's rules. The Date header may differ "
        "by 15 minutes. A request with an unsafe method is accepted once per signature; the same request with its "
        "Idempotency-Key gets the stored response.",
    },
}


Endpoint = Callable[[Request], Awaitable[Response]]
"""A Starlette endpoint."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A route of the API and its description.

    `response` is the model of the JSON response; without one the response has `media_type`. `headers` are optional
    request headers. `path_lists` describes path parameters that are lists of ids. `errors` are the possible errors
    besides those of authentication and of a database that does not answer. `text_responses` maps further statuses to
    their plain text.
    """

    method: str
    path: str
    endpoint: Endpoint
    permission: str
    summary: str
    query: type[RequestModel] | None = None
    body: type[RequestModel] | None = None
    path_lists: Mapping[str, str] = field(default_factory=dict)
    body_required: bool = True
    response: type[BaseModel] | None = None
    media_type: str = "text/plain"
    headers: Sequence[Header] = ()
    errors: Sequence[type[TakeoverError]] = ()
    text_responses: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resource:
    """The operations with one tag, and the description of the tag."""

    tag: str
    description: str
    operations: Sequence[Operation]


class _Schemas(GenerateJsonSchema):
    """Generates schemas with the null rules of the documents.

    A property that may be absent (default None, `NotRequired`) is never null; a property that is always present may be.
    Documents have no additional properties.
    """

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        """Name the size of integers, from which generators choose the type."""
        limits = schema.get("ge", -(2**63)), schema.get("le", 2**63 - 1)
        size = "int32" if all(-(2**31) <= limit < 2**31 for limit in limits) else "int64"
        return {**super().int_schema(schema), "format": size}

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return {**super().typed_dict_schema(schema), "additionalProperties": False}

    def typed_dict_field_schema(self, schema: core_schema.TypedDictField) -> JsonSchemaValue:
        inner = schema["schema"]
        if schema.get("required") is False and inner["type"] == "nullable":
            inner = inner["schema"]
        return self.generate_inner(inner)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is not None:
            return super().default_schema(schema)
        inner = schema["schema"]
        return self.generate_inner(inner["schema"] if inner["type"] == "nullable" else inner)


def describe(resources: Sequence[Resource], version: str) -> JSON:
    """Return the OpenAPI 3.1 document of the operations of `resources`."""
    operations = list(chain.from_iterable(resource.operations for resource in resources))
    references, schemas = _schemas(operations)
    paths: JSON = {}
    for resource in resources:
        for operation in resource.operations:
            described = {"tags": [resource.tag], **_operation(operation, references, schemas)}
            paths.setdefault(operation.path, {})[operation.method.lower()] = described
    for query in {operation.query for operation in operations if operation.query}:
        del schemas[_name(references[query])]  # its properties are parameters
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OBProxy takeover",
            "version": version,
            "description": DESCRIPTION,
            "contact": CONTACT,
        },
        "servers": SERVERS,
        "tags": [{"name": resource.tag, "description": resource.description} for resource in resources],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": SECURITY_SCHEMES},
        "security": [{name: []} for name in SECURITY_SCHEMES],
    }


def _schemas(operations: Sequence[Operation]) -> tuple[Mapping[object, JSON], JSON]:
    """Return the reference of each model, and the schemas by name."""
    inputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for operation in operations for model in (operation.query, operation.body) if model
    ]
    outputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (operation.response, "validation") for operation in operations if operation.response
    ]
    references, schemas = models_json_schema(
        [*inputs, *outputs, (Failure, "validation")], ref_template=COMPONENT, schema_generator=_Schemas
    )
    return {model: reference for (model, _), reference in references.items()}, schemas["$defs"]


def _operation(operation: Operation, references: Mapping[object, JSON], schemas: JSON) -> JSON:
    described: JSON = {
        "operationId": operation.endpoint.__name__,
        "summary": operation.summary,
        "description": _permission(operation),
        "parameters": _parameters(operation, references, schemas),
        "responses": {
            "200": _success(operation, references),
            **_errors(operation, references[Failure]),
            **{str(status): _text(text) for status, text in operation.text_responses.items()},
        },
    }
    if operation.body:
        content = {"application/json": {"schema": references[operation.body]}}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    if operation.permission == roles.PUBLIC:
        described["security"] = []
    return described


def _permission(operation: Operation) -> str:
    match operation.permission:
        case roles.PUBLIC:
            return "Requires no user."
        case roles.ANY_USER:
            return "Requires a user."
    return f"Requires the permission {operation.permission}."


def _parameters(operation: Operation, references: Mapping[object, JSON], schemas: JSON) -> list[JSON]:
    names = compile_path(operation.path)[2]
    parameters: list[JSON] = [
        {"in": "path", "name": name, "required": True, **_path_parameter(operation, name)} for name in names
    ]
    for header in operation.headers:
        schema = {"type": "string", "pattern": header.pattern}
        parameters.append({"in": "header", "name": header.name, "description": header.description, "schema": schema})
    if operation.query:
        model = schemas[_name(references[operation.query])]
        for name, schema in model["properties"].items():
            # `explode: false`: a list is one value with commas.
            parameters.append({"in": "query", "name": name, "schema": schema, "explode": False})
    return parameters


def _path_parameter(operation: Operation, name: str) -> JSON:
    if description := operation.path_lists.get(name):
        return {"description": description, "schema": {"type": "string", "pattern": r"^-?\d+(,-?\d+)*$"}}
    return {"schema": {"type": "integer", "format": "int64"}}


def _success(operation: Operation, references: Mapping[object, JSON]) -> JSON:
    if operation.response is None:
        schema = {"type": "string"} if operation.media_type.startswith("text/") else BINARY
        return {"description": "Success", "content": {operation.media_type: {"schema": schema}}}
    return {"description": "Success", "content": {"application/json": {"schema": references[operation.response]}}}


def _text(text: str) -> JSON:
    return {"description": text, "content": {"text/plain": {"schema": {"type": "string", "const": text}}}}


def _errors(operation: Operation, failure: JSON) -> JSON:
    """Return one response per status; its description lists the errors with that status."""
    errors = [*_common_errors(operation), *operation.errors]
    texts = [(STATUS_CODES[error.kind], f"{error.__name__} (code {error.code})") for error in errors]
    texts.append((INTERNAL_SERVER_ERROR, "Unexpected error"))
    content: Any = {"application/json": {"schema": failure}}
    return {
        str(status): {"description": "; ".join(text for _, text in group), "content": content}
        for status, group in groupby(sorted(texts), key=lambda text: text[0])
    }


def _common_errors(operation: Operation) -> Sequence[type[TakeoverError]]:
    changes = () if operation.method == "GET" else (SignatureUsed, DatabaseNotWritable)
    overloaded = () if operation.path in HEALTH_PATHS else (Overloaded,)
    match operation.permission:
        case roles.PUBLIC:
            return overloaded
        case roles.ANY_USER:
            return (InvalidRequest, Unauthenticated, *changes, RateLimited, DatabaseLost, *overloaded)
    return (InvalidRequest, Unauthenticated, *changes, Forbidden, RateLimited, DatabaseLost, *overloaded)


def _name(reference: JSON) -> str:
    name: str = reference["$ref"].rpartition("/")[2]
    return name
