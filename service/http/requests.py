"""Parsing of requests: body, query string, ids in the path, headers. An error names every bad field.

`field_errors` makes these errors. No invalid byte sequence passes this module.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from service.http import field_errors
from service.http.request_types import Header, LongFromText, RequestModel
from service.model.errors import (
    BodyTooLarge,
    InvalidRequest,
    SubError,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
    Wording,
)
from service.model.types import JSON
from service.tasks.resources import Resources

QUERY_RULES: Mapping[str, str] = {
    "unknown": "is not a query parameter of this operation, which has {known}",
    "none": "is not a query parameter of this operation, which has none",
}
"""Rule for the name of a query parameter."""

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
BRACKET_LIMIT = 50_000  # of one body: pydantic needs more than 1 kB per object, even an empty one
PARAMETER_LIMIT = 100  # of one query string
FORM_FIELD_LIMIT = 5000  # of one form


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
        invalid = field_errors.invalid_request(error, model.object_name)
    raise invalid  # outside `except`: a chained ValidationError would hold the whole body, passwords included


def parse_query[Model: RequestModel](request: Request, model: type[Model]) -> Model:
    """Return the query string as a `model`; raise InvalidRequest.

    Empty values are ignored. The values of a repeated parameter are joined by commas, as in OCP.
    """
    try:
        return model.model_validate(_query_parameters(request))
    except ValidationError as error:
        invalid = field_errors.invalid_request(error, model.object_name)
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
    shown, limits = field_errors.shorten(name), {"known": ", ".join(known)}
    wording = Wording(sentence="{field} {rule}.", field=shown, rule=rule, limits=limits)
    return SubError(field=shown, message=wording.say(), object=RequestModel.object_name, wording=wording)


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
        invalid = field_errors.invalid_request(error, "path", name)
    raise invalid


def parse_path[Model: RequestModel](request: Request, model: type[Model], *, context: JSON) -> Model:
    """Return the path parameters as a `model`; raise InvalidRequest."""
    try:
        return model.model_validate(request.path_params, context=context)
    except ValidationError as error:
        invalid = field_errors.invalid_request(error, model.object_name)
    raise invalid  # as in `parse_json`


_LONG: TypeAdapter[int] = TypeAdapter(LongFromText)


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
