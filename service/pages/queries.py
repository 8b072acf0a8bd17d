"""Query strings of pages that the API does not have."""

from typing import Annotated, Literal

from pydantic import Field

from service.api.queries import PageQuery, Sort, SortedPageQuery
from service.http.request_types import LongFromText, PageSize, RequestModel, Time


class DetailQuery(RequestModel):
    """The query of a task instance's page: view, subtask whose log is shown, and its execution (`attempt`)."""

    view: Literal["log", "flow"] = "log"
    subtask: LongFromText | None = None
    attempt: LongFromText | None = None


class LinesQuery(RequestModel):
    """The query of a part of a subtask's log: rows behind `after` and before `until`."""

    after: LongFromText = 0
    until: LongFromText | None = None


class ClusterPageQuery(PageQuery):
    """The query of the page of an OBProxy cluster: its servers, in pages, or their parameters."""

    view: Literal["servers", "parameters"] = "servers"
    size: PageSize = 50


class ChangedRowsQuery(RequestModel):
    """The query of the changed rows of the takeover form."""

    since: Annotated[Time, Field(strict=False)]


class HostPageQuery(SortedPageQuery):
    """The query of the page of a host: a page of its task instances."""

    sort: Sort = "id,desc"
