"""Base of request schemas, and the types of their fields."""

import re
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

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


LARGEST_EXACT_FLOAT = 2**53


def integer(value: object) -> object:
    """Return the integer that `value` spells, as text or as `1.0`; anything else is left for the type to reject."""
    match value:
        case str() if re.fullmatch(r"-?[0-9]{1,20}", value):
            return int(value)
        case float() if value.is_integer() and abs(value) <= LARGEST_EXACT_FLOAT:
            return int(value)
    return value


def printable[Given: (str, SecretStr)](given: Given) -> Given:
    if CONTROL_CHARACTERS.search(given.get_secret_value() if isinstance(given, SecretStr) else given):
        raise PydanticCustomError("control_characters", "must not contain control characters")
    return given


Long = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, AfterValidator(printable)]
Spelled = BeforeValidator(integer)
Port = Annotated[int, Field(ge=1, le=65535), Spelled]


SpelledLong = Annotated[Long, Spelled]
PageNumber = Annotated[int, Field(alias="page", ge=1, le=2**31 - 1), Spelled]
PageSize = Annotated[int, Field(ge=1, le=2000), Spelled]
MOST_WORDS = 10  # in one comma list
Word = Annotated[Text, Field(min_length=1, max_length=255)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), le=datetime(2200, 1, 1, tzinfo=UTC))]


class Parameters(BaseModel):
    """Base of what comes from outside: strict types, camel case."""

    model_config = ConfigDict(strict=True, frozen=True, alias_generator=to_camel)

    object_name: ClassVar[str] = "query"
    """What `object` of a sub-error says."""
