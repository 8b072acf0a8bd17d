"""Base class of request models, and the types of their fields."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from service.model.fleet import MAX_PORT

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


LARGEST_EXACT_FLOAT = 2**53


def parse_integer(value: object) -> object:
    """Return the integer that `value` spells, as text or as `1.0`; return anything else, the type then rejects it."""
    match value:
        case str() if re.fullmatch(r"-?[0-9]{1,20}", value):
            return int(value)
        case float() if value.is_integer() and abs(value) <= LARGEST_EXACT_FLOAT:
            return int(value)
    return value


def reject_control_characters[Value: (str, SecretStr)](value: Value) -> Value:
    if CONTROL_CHARACTERS.search(value.get_secret_value() if isinstance(value, SecretStr) else value):
        raise PydanticCustomError("control_characters", "must not contain control characters")
    return value


def split_commas(text: object) -> object:
    """Return the elements of a comma-separated list; return anything but text unchanged."""
    return text.split(",") if isinstance(text, str) else text


Long = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, AfterValidator(reject_control_characters)]
FromText = BeforeValidator(parse_integer)
Port = Annotated[int, Field(ge=1, le=MAX_PORT), FromText]
LongFromText = Annotated[Long, FromText]
RowNumber = Annotated[int, Field(ge=0, le=2**63 - 1), FromText]
"""Number of an event; 0 is before the first."""
PageNumber = Annotated[int, Field(alias="page", ge=1, le=2**31 - 1), FromText]
PageSize = Annotated[int, Field(ge=1, le=2000), FromText]
LIST_LIMIT = 10  # elements of a comma-separated list
NonEmptyText = Annotated[Text, Field(min_length=1, max_length=255)]
Time = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), le=datetime(2200, 1, 1, tzinfo=UTC))]


@dataclass(frozen=True, kw_only=True)
class Header:
    """An optional request header; `pattern` is the regular expression of its values."""

    name: str
    description: str
    pattern: str


class RequestModel(BaseModel):
    """Base of bodies and query strings: strict types, names in camel case."""

    model_config = ConfigDict(strict=True, frozen=True, alias_generator=to_camel)

    object_name: ClassVar[str] = "query"
    """Property `object` of the sub-errors of this model."""
