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


def integer(text: object) -> object:
    """The integer that a path's or query's text spells; anything else is left for the type to refuse."""
    return int(text) if isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,20}", text) else text


def printable[Given: (str, SecretStr)](given: Given) -> Given:
    if CONTROL_CHARACTERS.search(given.get_secret_value() if isinstance(given, SecretStr) else given):
        raise PydanticCustomError("control_characters", "must not contain control characters")
    return given


Long = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, AfterValidator(printable)]
Spelled = BeforeValidator(integer)


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
