"""Reading a request: its body, its query string, the ids in its path. A bad one is refused with every bad field named.

How it is refused: docs/reference/ocp-api.md 4.3. All that can be wrong with bytes ends here, as an error with a name.
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

from service.http.request_schema import Parameters, SpelledLong
from service.model.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedBody,
    SortNotAllowed,
    SubError,
    UnsupportedMediaType,
    Wording,
)
from service.model.types import JSON
from service.tasks.resources import Resources

RULES: Mapping[str, str] = {
    "missing": "is required",
    "int_type": "must be an integer",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "datetime_type": "must be a time in ISO 8601",
    "datetime_parsing": "must be a time in ISO 8601",
    "datetime_from_date_parsing": "must be a time in ISO 8601",
    "timezone_aware": "must say its offset from UTC",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "model_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} elements",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}
"""What a field must be, by pydantic's type of error."""

OWN_RULES: Mapping[str, str] = {
    "control_characters": "must not contain control characters",
    "too_many": "must have at most {limit} elements",
    "duplicate": "must not be there twice",
    "repeated": "must not repeat {ids}",
    "before_start": "must not be before startTime",
}
"""The same for what our own validators find (`schemas`)."""

QUERY_RULES: Mapping[str, str] = {
    "unknown": "is not a query parameter of this operation, which has {known}",
    "none": "is not a query parameter of this operation, which has none",
}
"""The same for the name of a query parameter."""

SECRETS = frozenset({"proxysysPasswd"})
"""Fields whose value is never shown again."""

LONGEST_ECHO = 100  # characters of a refused value that are shown again
MOST_BRACKETS = 50_000  # of one body: pydantic takes more than 1 kB for each object, be it two characters
MOST_PARAMETERS = 100  # of one query string


def resources(request: Request) -> Resources:
    """What the service works with."""
    found: Resources = request.app.state.resources
    return found


async def body[Model: Parameters](request: Request, model: type[Model], *, limit: int, context: JSON) -> Model:
    """The request's body as a `model`.

    Raises UnsupportedMediaType, BodyTooLarge (as soon as more than `limit` bytes have come), MalformedBody,
    InvalidRequest. The JSON is read by pydantic itself: it refuses what Python's json lets through (lone surrogates,
    nesting without end) and cannot be made to recurse.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType(found=content_type)
    return parsed(await read_body(request.headers, request.receive, limit), model, context=context)


def parsed[Model: Parameters](content: bytes, model: type[Model], *, context: JSON) -> Model:
    """The JSON `content` as a `model`; raises MalformedBody, InvalidRequest."""
    if content.count(b"{") + content.count(b"[") > MOST_BRACKETS:
        message = f"The body must have at most {MOST_BRACKETS} opening brackets."
        raise InvalidRequest([SubError(field="body", message=message, object=model.object_name)])
    try:
        return model.model_validate_json(content, context=context)
    except ValidationError as error:
        refusal = _refusal(error, model.object_name)
    raise refusal  # here, since what is raised above keeps the error, which holds all that was sent, passwords too


def query[Model: Parameters](request: Request, model: type[Model]) -> Model:
    """The request's query string as a `model`; raises InvalidRequest.

    Empty values count as not given; a parameter that is there twice is its values joined by a comma, as in OCP.
    """
    try:
        return model.model_validate(_query_parameters(request))
    except ValidationError as error:
        refusal = _refusal(error, model.object_name)
    raise refusal


def reject_unknown_parameters(request: Request, model: type[Parameters] | None) -> None:
    """Raise InvalidRequest when the query string has parameters that `model` has not; it names them and the known ones.

    A filter that is ignored would return everything.
    """
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    unknown = [name for name in _query_parameters(request) if name not in known]
    if unknown:
        raise InvalidRequest([_unknown_parameter(name, known) for name in unknown])


def _unknown_parameter(name: str, known: Sequence[str]) -> SubError:
    rule = QUERY_RULES["unknown" if known else "none"]
    limits = {"known": ", ".join(known)}
    wording = Wording(sentence="{field} {rule}.", field=_cut(name), rule=rule, limits=limits)
    return SubError(field=_cut(name), message=wording.say(), object=Parameters.object_name, wording=wording)


def _query_parameters(request: Request) -> dict[str, str]:
    parameters: dict[str, str] = {}
    try:
        text = request.scope["query_string"].decode()
        for name, value in parse_qsl(text, errors="strict", max_num_fields=MOST_PARAMETERS):
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    except ValueError:
        message = f"The query string must be percent-encoded UTF-8 of at most {MOST_PARAMETERS} parameters."
        raise InvalidRequest([SubError(field="query", message=message, object=Parameters.object_name)]) from None
    return parameters


def idempotency_key(request: Request) -> str | None:
    """The caller's Idempotency-Key, if there is one; raises InvalidRequest when it is no word."""
    key = request.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[!-~]{1,255}", key):
        message = "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces."
        raise InvalidRequest([SubError(field="Idempotency-Key", message=message, object="headers")])
    return key


def last_event_id(request: Request) -> int | None:
    """The number of the last event that a reader who comes back has seen; raises InvalidRequest."""
    given = request.headers.get("last-event-id")
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", given):
        message = "Last-Event-ID must be the id of an event, a number of at most 18 digits."
        raise InvalidRequest([SubError(field="Last-Event-ID", message=message, object="headers")])
    return int(given)


def path_id(request: Request, name: str) -> int:
    """The id that the path carries as `name`; raises InvalidRequest when it is no Long."""
    try:
        return _LONG.validate_python(request.path_params[name], strict=True)
    except ValidationError as error:
        refusal = _refusal(error, "path", name)
    raise refusal


_LONG: TypeAdapter[int] = TypeAdapter(SpelledLong)


def _refusal(error: ValidationError, object_name: str, name: str = "body") -> MalformedBody | InvalidRequest:
    """The error to raise; `name` is what the value as a whole is called."""
    errors = error.errors(include_url=False)
    if errors[0]["type"] == "json_invalid":
        return MalformedBody(reason=errors[0]["ctx"]["error"])
    refusal = SortNotAllowed if all(details["loc"] == ("sort",) for details in errors) else InvalidRequest
    return refusal([_sub_error(details, object_name, name) for details in errors])


def _sub_error(details: ErrorDetails, object_name: str, name: str) -> SubError:
    field = _path(details["loc"]) or name
    limits = details.get("ctx", {})
    rule = (
        RULES.get(details["type"])
        or OWN_RULES.get(details["type"])
        or details["msg"].replace("{", "{{").replace("}", "}}")
    )
    if details["type"] == "missing" or SECRETS.intersection(details["loc"]):
        wording = Wording(sentence="{field} {rule}.", field=field, rule=rule, limits=limits)
        return SubError(field=field, message=wording.say(), object=object_name, wording=wording)
    shown, rejected = _shown(details["input"])
    wording = Wording(sentence="{field} {rule}; it is {shown}.", field=field, rule=rule, limits=limits, shown=shown)
    return SubError(field=field, message=wording.say(), object=object_name, rejected_value=rejected, wording=wording)


def _path(location: Sequence[str | int]) -> str:
    """`hosts[0].sqlPort`"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _shown(value: Any) -> tuple[str, Any]:
    """A refused value for the reader, and for `rejectedValue`: only plain ones, for others may hold a secret."""
    match value:
        case list():
            return "an array", None
        case dict():
            return "an object", None
        case float() if not math.isfinite(value):
            return str(value), None
        case str():
            value = _cut(value)
    return json.dumps(value, ensure_ascii=False), value


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_ECHO else text[:LONGEST_ECHO] + "…"


MOST_FIELDS = 5000  # of one form


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body; raises BodyTooLarge, at best before it comes, and ClientDisconnect.

    What is announced is only a hint: more than `limit` bytes are given up as soon as they have come.
    """
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
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
    """What gives a body that has been read already once more, and then what the caller does."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": content, "more_body": False}

    return replay


def form_fields(content: bytes) -> dict[str, str]:
    """The fields of an HTML form's body; of a field that is there twice, the last. What is none has no fields."""
    try:
        return dict(parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))
    except ValueError:
        return {}
