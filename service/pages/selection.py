"""Operations on the selected rows of a list: the selection, and what is shown when one does not allow the operation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from service.http import requests
from service.model.errors import InvalidRequest, SubError

PAGE_SIZES = (10, 20, 50, 100)  # of the lists; a selection has at most one page


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A selected row that does not allow the operation, by its name and the address of its page, with the reason."""

    name: str
    address: str
    message: str


async def selected_ids(request: Request, field: str) -> Sequence[int]:
    """Return the ids in a field of the form, each once; raise InvalidRequest for none or more than a page has."""
    content = await requests.read_body(
        request.headers, request.receive, requests.resources(request).settings.body_limit
    )
    found = re.findall(r"\b[0-9]{1,18}\b", requests.form_fields(content).get(field, ""))
    ids = list(dict.fromkeys(map(int, found)))
    if 0 < len(ids) <= PAGE_SIZES[-1]:
        return ids
    message = f"{field} must have 1 to {PAGE_SIZES[-1]} ids; it has {len(ids)}."
    raise InvalidRequest([SubError(field=field, message=message, object="selection")])


def page_number(request: Request) -> str:
    """Return the number of the page of the list, as the address has it; empty = the first page."""
    return request.query_params.get("page", "")
