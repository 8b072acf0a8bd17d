"""OCP's envelope as types, for the OpenAPI document (docs/reference/ocp-api.md 4)."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="forbid")


class SubError(Answer):
    """One bad field of a request: `field` is its path, `rejectedValue` what was sent, if it may be shown."""

    field: str
    message: str
    object: str
    rejectedValue: int | float | str | bool | None = None


class Error(Answer):
    """`code` is OCP's, 0 where it has none."""

    code: int
    message: str
    subErrors: list[SubError] | None = None


class Enveloped(Answer):
    """What every answer carries. `duration` in milliseconds."""

    duration: int
    server: str
    status: int
    successful: bool
    timestamp: datetime
    traceId: str


class Failure(Enveloped):
    """The answer to what was refused or has failed."""

    error: Error


class Success[Data](Enveloped):
    """The answer to what has worked."""

    data: Data


class Done(Enveloped):
    """The answer to what has worked and has nothing to say."""


class Contents[Element](Answer):
    """A list."""

    contents: list[Element]


class PageNumbers(Answer):
    """Which part of a list this is; `number` counts from 1."""

    number: int
    size: int
    totalElements: int
    totalPages: int


class PageOf[Element](Answer):
    """One page of a list."""

    contents: list[Element]
    page: PageNumbers
