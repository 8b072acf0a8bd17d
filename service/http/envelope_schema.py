"""OCP's envelope as pydantic models, for the OpenAPI document (docs/reference/ocp-api.md 4)."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class ResponseModel(BaseModel):
    """Base of response models."""

    model_config = ConfigDict(extra="forbid")


class SubError(ResponseModel):
    """One bad field of a request: its path, and the rejected value if it is not secret."""

    field: str
    message: str
    object: str
    rejectedValue: int | float | str | bool | None = None


class Error(ResponseModel):
    """Error; `code` is OCP's, or 0 where OCP has none."""

    code: int
    message: str
    subErrors: list[SubError] | None = None


class Envelope(ResponseModel):
    """Properties of every response. `duration` is in milliseconds."""

    duration: int
    server: str
    status: int
    successful: bool
    timestamp: datetime
    traceId: str


class Failure(Envelope):
    """Response to a request that was rejected or has failed."""

    error: Error


class Success[Data](Envelope):
    """Response to a successful request."""

    data: Data


class SuccessWithoutData(Envelope):
    """Response to a successful request that returns no data."""


class Contents[Element](ResponseModel):
    """A list."""

    contents: list[Element]


class PageInfo(ResponseModel):
    """Position of a page in its list; `number` counts from 1."""

    number: int
    size: int
    totalElements: int
    totalPages: int


class PageOf[Element](ResponseModel):
    """One page of a list."""

    contents: list[Element]
    page: PageInfo
