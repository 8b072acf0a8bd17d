"""Parsing of requests: body, query string, ids in the path, headers. An error names every bad field.

Errors: docs/reference/ocp-api.md 4.3. No invalid byte sequence passes this module.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from service.http.request_types import Header, LongFromText, RequestModel
from service.model.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedBody,
    SortNotAllowed,
    SubError,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
    Wording,
)
from service.model.types import JSON
from service.tasks.resources import Resources

PYDANTIC_RULES: Mapping[str, str] = {
    "missing": "is required",
    "int_type": "must be an integer",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "datetime_type": "must be a time in ISO 8601",
    "datetime_parsing": "must be a time in ISO 8601",
    "datetime_from_date_parsing": "must be a time in ISO 8601",
    "timezone_aware": "must have an offset from UTC",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} elements",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "extra_forbidden": "is not a known field",
}
"""Rule of a field by pydantic's type of error."""

CUSTOM_RULES: Mapping[str, str] = {
    "control_characters": "must not contain control characters",
    "too_many": "must have at most {limit} elements",
    "duplicate": "must not occur twice",
    "repeated": "must not repeat {ids}",
    "before_start": "must not be before startTime",
    "no_batches": "must have canary or batchSize",
}
"""Rule by the type of error of our own validators (`api.bodies`, `request_types`)."""

QUERY_RULES: Mapping[str, str] = {
    "unknown": "is not a query parameter of this operation, which has {known}",
    "none": "is not a query parameter of this operation, which has none",
}
"""Rule for the name of a query parameter."""

RULES_WITH_VALUE = frozenset({"missing", "too_short", "repeated"})
"""Types of errors whose rule names the value: it is missing, empty or repeated."""

RULES_OF_LENGTH = frozenset({"too_long", "too_many"})
"""Types of errors about the length of a list."""

SECRET_FIELDS = frozenset({"proxysysPasswd"})
"""Fields whose value is never repeated in an error."""

IDEMPOTENCY_KEY = Header(
    name="Idempotency-Key",
    description="For 24 hours, the same request with the same key gets the same response",
    pattern="^[!-~]{1,255}$",
)
LAST_EVENT_ID = Header(
    name="Last-Event-ID",
    description="Id of the last event received; only later events are sent",
    pattern="^([0-9]{1,18})?$",
)
SHOWN_VALUE_LIMIT = 100  # characters of a rejected value that an error repeats
BRACKET_LIMIT = 50_000  # of one body: pydantic needs more than 1 kB per object, even an empty one
PARAMETER_LIMIT = 100  # of one query string


def resources(request: Request) -> Resources:
    """Return the resources of the application."""
    found: Resources = request.app.state.resources
    return found


async def parse_body[Model: RequestModel](request: Request, model: type[Model], *, limit: int, context: JSON) -> Model:
    """Return the body as a `model`.

    Raise UnsupportedMediaType, UnsupportedContentEncoding, BodyTooLarge (after `limit` bytes), MalformedBody,
    InvalidRequest. pydantic parses the JSON: it rejects lone surrogates and deep nesting, which Python's json accepts,
    and does not recurse.
    """
    _require_json(request)
    return parse_json(await read_body(request.headers, request.receive, limit), model, context=context)


def _require_json(request: Request) -> None:
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType(found=content_type)
    encoding = ",".join(request.headers.getlist("content-encoding"))
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedContentEncoding(found=encoding)


async def parse_optional_body[Model: RequestModel](
    request: Request, model: type[Model], *, limit: int, context: JSON
) -> Model:
    """Return the body as a `model`; a request without a body has the defaults. Raise as `parse_body`."""
    content = await read_body(request.headers, request.receive, limit)
    if content:
        _require_json(request)
    return parse_json(content or b"{}", model, context=context)


def parse_json[Model: RequestModel](content: bytes, model: type[Model], *, context: JSON) -> Model:
    """Return the JSON `content` as a `model`; raise MalformedBody, InvalidRequest."""
    if content.count(b"{") + content.count(b"[") > BRACKET_LIMIT:
        sentence = "The body must have at most {limit} opening brackets."
        raise InvalidRequest([SubError.saying(sentence, field="body", object=model.object_name, limit=BRACKET_LIMIT)])
    try:
        return model.model_validate_json(content, context=context)
    except ValidationError as error:
        invalid = _invalid_request(error, model.object_name)
    raise invalid  # outside `except`: a chained ValidationError would hold the whole body, passwords included


def parse_query[Model: RequestModel](request: Request, model: type[Model]) -> Model:
    """Return the query string as a `model`; raise InvalidRequest.

    Empty values are ignored. The values of a repeated parameter are joined by commas, as in OCP.
    """
    try:
        return model.model_validate(_query_parameters(request))
    except ValidationError as error:
        invalid = _invalid_request(error, model.object_name)
    raise invalid


def reject_unknown_parameters(request: Request, model: type[RequestModel] | None) -> None:
    """Raise InvalidRequest if the query string has parameters that `model` lacks; it names them and the known ones.

    A filter that is ignored would return everything.
    """
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    unknown = [name for name in _query_parameters(request) if name not in known]
    if unknown:
        raise InvalidRequest([_unknown_parameter(name, known) for name in unknown])


def _unknown_parameter(name: str, known: Sequence[str]) -> SubError:
    rule = QUERY_RULES["unknown" if known else "none"]
    limits = {"known": ", ".join(known)}
    wording = Wording(sentence="{field} {rule}.", field=_shorten(name), rule=rule, limits=limits)
    return SubError(field=_shorten(name), message=wording.say(), object=RequestModel.object_name, wording=wording)


def _query_parameters(request: Request) -> dict[str, str]:
    parameters: dict[str, str] = {}
    try:
        text = request.scope["query_string"].decode()
        for name, value in parse_qsl(text, errors="strict", max_num_fields=PARAMETER_LIMIT):
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    except ValueError:
        sentence = "The query string must be percent-encoded UTF-8 with at most {limit} parameters."
        raise InvalidRequest(
            [SubError.saying(sentence, field="query", object=RequestModel.object_name, limit=PARAMETER_LIMIT)]
        ) from None
    return parameters


def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key, if there is one; raise InvalidRequest for several or one not of printable ASCII."""
    keys = set(request.headers.getlist(IDEMPOTENCY_KEY.name))
    if len(keys) > 1:
        sentence = "{field} must be one key; there are {found} different ones."
        raise InvalidRequest([SubError.saying(sentence, field=IDEMPOTENCY_KEY.name, object="headers", found=len(keys))])
    key = keys.pop() if keys else None
    if key is not None and not re.fullmatch(IDEMPOTENCY_KEY.pattern, key):
        sentence = "{field} must be 1 to 255 printable ASCII characters without spaces."
        raise InvalidRequest([SubError.saying(sentence, field=IDEMPOTENCY_KEY.name, object="headers")])
    return key


def last_event_id(request: Request) -> int | None:
    """Return the Last-Event-ID of a reconnecting client, if there is one; raise InvalidRequest."""
    given = request.headers.get(LAST_EVENT_ID.name)
    if not given:
        return None
    if not re.fullmatch(LAST_EVENT_ID.pattern, given):
        sentence = "{field} must be the id of an event, a number of at most 18 digits."
        raise InvalidRequest([SubError.saying(sentence, field=LAST_EVENT_ID.name, object="headers")])
    return int(given)


def path_id(request: Request, name: str) -> int:
    """Return the path parameter `name` as an id; raise InvalidRequest when it is no 64-bit integer."""
    try:
        return _LONG.validate_python(request.path_params[name], strict=True)
    except ValidationError as error:
        invalid = _invalid_request(error, "path", name)
    raise invalid


def parse_path[Model: RequestModel](request: Request, model: type[Model], *, context: JSON) -> Model:
    """Return the path parameters as a `model`; raise InvalidRequest."""
    try:
        return model.model_validate(request.path_params, context=context)
    except ValidationError as error:
        invalid = _invalid_request(error, model.object_name)
    raise invalid  # as in `parse_json`


_LONG: TypeAdapter[int] = TypeAdapter(LongFromText)


def _invalid_request(error: ValidationError, object_name: str, name: str = "body") -> MalformedBody | InvalidRequest:
    """Return the error to raise; `name` is the field name of the value as a whole."""
    errors = error.errors(include_url=False)
    if errors[0]["type"] == "json_invalid":
        return MalformedBody(reason=errors[0]["ctx"]["error"])
    kind = SortNotAllowed if all(details["loc"] == ("sort",) for details in errors) else InvalidRequest
    return kind([_sub_error(details, object_name, name) for details in errors])


def _sub_error(details: ErrorDetails, object_name: str, name: str) -> SubError:
    field = _path(details["loc"]) or name
    limits = details.get("ctx", {})
    rule = (
        PYDANTIC_RULES.get(details["type"])
        or CUSTOM_RULES.get(details["type"])
        or details["msg"].replace("{", "{{").replace("}", "}}")
    )
    sent = details["input"]
    if details["type"] in RULES_WITH_VALUE or SECRET_FIELDS.intersection(details["loc"]):
        wording = Wording(sentence="{field} {rule}.", field=field, rule=rule, limits=limits)
        return SubError(field=field, message=wording.say(), object=object_name, wording=wording)
    if isinstance(sent, list) and details["type"] in RULES_OF_LENGTH:
        shown = str(len(sent))
        wording = Wording(
            sentence="{field} {rule}; it has {shown}.", field=field, rule=rule, limits=limits, shown=shown
        )
        return SubError(field=field, message=wording.say(), object=object_name, wording=wording)
    shown, rejected = _shown(sent)
    wording = Wording(sentence="{field} {rule}; it is {shown}.", field=field, rule=rule, limits=limits, shown=shown)
    return SubError(field=field, message=wording.say(), object=object_name, rejected_value=rejected, wording=wording)


def _path(location: Sequence[str | int]) -> str:
    """Return a location in the notation `hosts[0].sqlPort`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _shown(value: Any) -> tuple[str, Any]:
    """Return a rejected value as text, and for `rejectedValue`; not lists and objects, which may hold a secret."""
    match value:
        case list():
            return "a list", None
        case dict():
            return "an object", None
        case float() if not math.isfinite(value):
            return str(value), None
        case str():
            value = _shorten(value)
    return json.dumps(value, ensure_ascii=False), value


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN_VALUE_LIMIT else text[:SHOWN_VALUE_LIMIT] + "…"


FORM_FIELD_LIMIT = 5000  # of one form


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Return the whole body; raise BodyTooLarge, ClientDisconnect.

    A Content-Length above `limit` is rejected without reading. A wrong Content-Length does not bypass the limit.
    """
    content_length = headers.get("content-length", "")
    if content_length.isdecimal() and int(content_length[:20]) > limit:
        raise BodyTooLarge(limit=limit)
    content = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        content += message.get("body", b"")
        if len(content) > limit:
            raise BodyTooLarge(limit=limit)
        more = message.get("more_body", False)
    return bytes(content)


def replay_body(content: bytes, receive: Receive) -> Receive:
    """Return an ASGI `receive` that delivers a body that was already read, then continues with `receive`."""
    replayed = False

    async def replay() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": content, "more_body": False}

    return replay


def form_fields(content: bytes) -> dict[str, str]:
    """Return the fields of an HTML form, the last value of a repeated one; none when the body is no valid form."""
    try:
        return dict(
            parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELD_LIMIT)
        )
    except ValueError:
        return {}
