"""Errors of invalid fields, made from pydantic's: each names the field, the rule and the value that was sent.

Format: docs/reference/ocp-api.md 4.3. A secret is never repeated.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.model.errors import InvalidRequest, MalformedBody, SortNotAllowed, SubError, Wording

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

RULES_WITH_VALUE = frozenset({"missing", "too_short", "repeated"})
"""Types of errors whose rule names the value: it is missing, empty or repeated."""

RULES_OF_LENGTH = frozenset({"too_long", "too_many"})
"""Types of errors about the length of a list."""

SECRET_FIELDS = frozenset({"proxysysPasswd"})
"""Fields whose value is never repeated in an error."""

SHOWN_VALUE_LIMIT = 100  # characters of a rejected value that an error repeats


def invalid_request(error: ValidationError, object_name: str, name: str = "body") -> MalformedBody | InvalidRequest:
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
            value = shorten(value)
    return json.dumps(value, ensure_ascii=False), value


def shorten(text: str) -> str:
    """Return a text that was sent, cut after SHOWN_VALUE_LIMIT characters."""
    return text if len(text) <= SHOWN_VALUE_LIMIT else text[:SHOWN_VALUE_LIMIT] + "…"
