"""Operations on the selected rows of a list: the selection, its audit, and the result that the list shows."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request

from service.http import requests
from service.http.audit import parts_recorded
from service.http.envelope import STATUS_CODES
from service.model.errors import InvalidRequest, SubError, TakeoverError

PAGE_SIZES = (10, 20, 50, 100)  # of the lists; a selection has at most one page
EXECUTED = 200  # status in the audit of a row that allows the operation


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A selected row that does not allow the operation, by its name and the address of its page, with the reason."""

    name: str
    address: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of an operation: the number of task instances that accepted it, and what rejected it."""

    accepted: int = 0
    rejections: Sequence[Rejection] = ()


async def selected_ids(request: Request, field: str) -> Sequence[int]:
    """Return the ids in a field of the form, each once; raise InvalidRequest for none or more than a page has."""
    content = await requests.read_body(
        request.headers, request.receive, requests.resources(request).settings.body_limit
    )
    found = re.findall(r"\b[0-9]{1,18}\b", requests.form_fields(content).get(field, ""))
    ids = list(dict.fromkeys(map(int, found)))
    if 0 < len(ids) <= PAGE_SIZES[-1]:
        return ids
    sentence = "{field} must have 1 to {limit} ids; it has {found}."
    raise InvalidRequest(
        [SubError.saying(sentence, field=field, object="selection", limit=PAGE_SIZES[-1], found=len(ids))]
    )


@asynccontextmanager
async def audited(
    request: Request, list_path: str, ids: Sequence[int], operation: str
) -> AsyncIterator[dict[int, TakeoverError | None]]:
    """Record an audit event for each row, as if the operation had been executed on its own page.

    The block notes for each row the error of the operation, None = it was executed, in the dictionary that it gets.
    """
    errors: dict[int, TakeoverError | None] = {}
    async with parts_recorded(request.scope, {id: f"{list_path}/{id}/{operation}" for id in ids}) as statuses:
        try:
            yield errors
        finally:
            statuses |= {id: STATUS_CODES[error.kind] if error else EXECUTED for id, error in errors.items()}


def page_number(request: Request) -> str:
    """Return the number of the page of the list, as the address has it; empty = the first page."""
    return request.query_params.get("page", "")
