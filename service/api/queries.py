"""Query strings of the API. `http.requests` parses them.

Parameters: docs/reference/ocp-api.md 1.5 (hosts), 2.2 (task instances), 6 (validation). Unknown ones are rejected.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from service.http.request_types import (
    LIST_LIMIT,
    LongFromText,
    NonEmptyText,
    PageNumber,
    PageSize,
    RequestModel,
    RowNumber,
    Text,
    Time,
    split_commas,
)
from service.model.fleet import HostFilter, HostStatus, ServiceType
from service.model.requests import RequestFilter, RequestStatus
from service.model.states import TaskState
from service.model.tasks import TaskFilter, TaskStatus
from service.model.types import Order, Page


def _sort(text: object) -> object:
    """Return the canonical form of a sort; return anything else unchanged, the type then rejects it."""
    if not isinstance(text, str):
        return text
    field, _, direction = text.partition(",")
    canonical = f"{field},{direction.lower() or 'asc'}"
    return canonical if canonical in SORTS else text


Status = Annotated[TaskStatus, Field(strict=False)]
RequestState = Annotated[RequestStatus, Field(strict=False)]
HostState = Annotated[HostStatus, Field(strict=False)]
Service = Annotated[ServiceType, Field(strict=False)]
SORTS: Mapping[str, Order] = {
    "id,asc": Order(field="id"),
    "id,desc": Order(field="id", descending=True),
    "name,asc": Order(field="name"),
    "name,desc": Order(field="name", descending=True),
}
Sort = Annotated[
    Literal["id,asc", "id,desc", "name,asc", "name,desc"],
    Field(description="Field and direction, the direction in any case; without a direction it is `asc`."),
    BeforeValidator(_sort),
]
RequestSort = Annotated[
    Literal["id,asc", "id,desc"],
    Field(description="`id` and direction, the direction in any case; without a direction it is `asc`."),
    BeforeValidator(_sort),
]


class LogQuery(RequestModel):
    """The query of a subtask's log. `after`: return only rows behind this number."""

    after: LongFromText | None = None


class EventsQuery(RequestModel):
    """The query of an event stream. `after`: send rows behind this number, 0 = all; Last-Event-ID has precedence."""

    after: RowNumber | None = None


class PageQuery(RequestModel):
    """The query of a paginated list."""

    number: PageNumber = 1
    size: PageSize = 10

    @property
    def page(self) -> Page:
        """The requested page."""
        return Page(number=self.number, size=self.size)


class SortedPageQuery(PageQuery):
    """The query of a list that has an order."""

    sort: Sort = "id,asc"

    @property
    def order(self) -> Order:
        """Return the order of the list."""
        return SORTS[self.sort]


class ClusterQuery(SortedPageQuery):
    """The query of the list of OBProxy clusters."""


class DiscoveryEventsQuery(RequestModel):
    """The query of the stream of discoveries; `keyword` is part of a host's name or address."""

    host_id: LongFromText | None = None
    keyword: Text | None = None


class DiscoveryQuery(DiscoveryEventsQuery, SortedPageQuery):
    """The query of the list of discoveries."""


class HistoryQuery(SortedPageQuery):
    """The conditions that the lists of requests and of task instances have in common."""

    host_id: LongFromText | None = None
    host_name: Annotated[Text, Field(description="Part of the name of a host.")] | None = None
    obproxy_cluster: Annotated[Text, Field(description="Part of the name of an OBProxy cluster.")] | None = None
    creator: Text | None = None
    start_after: Annotated[Time, Field(strict=False)] | None = None
    start_before: Annotated[Time, Field(strict=False)] | None = None


class RequestQuery(HistoryQuery):
    """The query of the list of requests."""

    workflow: Annotated[Text, Field(description="Name of a workflow, such as `takeover`.")] | None = None
    status: Annotated[list[RequestState], Field(max_length=LIST_LIMIT), BeforeValidator(split_commas)] | None = None
    sort: RequestSort = "id,desc"

    @property
    def filter(self) -> RequestFilter:
        """The filter of the list."""
        return RequestFilter(
            workflow=self.workflow,
            statuses=self.status,
            host_id=self.host_id,
            host_name=self.host_name,
            cluster=self.obproxy_cluster,
            creator=self.creator,
            start_after=self.start_after,
            start_before=self.start_before,
            order=self.order,
        )


class AuditQuery(PageQuery):
    """The query of the audit log."""

    user_name: Text | None = None


class ParameterInfoQuery(RequestModel):
    """The query of parameter descriptions; `version` is an OBProxy version without build, or a prefix of it."""

    name: NonEmptyText | None = None
    version: NonEmptyText | None = None


class HostQuery(SortedPageQuery):
    """The query of the list of hosts."""

    status: Annotated[list[HostState], Field(max_length=LIST_LIMIT), BeforeValidator(split_commas)] | None = None
    keyword: Text | None = None
    included_service_type: (
        Annotated[list[Service], Field(max_length=LIST_LIMIT), BeforeValidator(split_commas)] | None
    ) = None
    excluded_service_type: (
        Annotated[list[Service], Field(max_length=LIST_LIMIT), BeforeValidator(split_commas)] | None
    ) = None

    @property
    def filter(self) -> HostFilter:
        """The filter of the list."""
        return HostFilter(
            statuses=self.status,
            keyword=self.keyword,
            included=self.included_service_type or (),
            excluded=self.excluded_service_type or (),
            order=self.order,
        )


class TaskQuery(HistoryQuery):
    """The query of the list of task instances."""

    name: Text | None = None
    status: Annotated[list[Status], Field(max_length=LIST_LIMIT), BeforeValidator(split_commas)] | None = None
    state: (
        Annotated[TaskState, Field(strict=False, description="The status in more detail, such as queued.")] | None
    ) = None
    type: Literal["MANUAL", "SYS_ONECE", "SCHEDULED", "SYS_SCHEDULED", "EXTERNAL"] | None = None
    cluster_id: LongFromText | None = None
    cluster_name: Text | None = None
    cluter_name: (
        Annotated[Text, Field(description="The same as `clusterName`, as OCP's documents spell it.")] | None
    ) = None
    tenant_id: LongFromText | None = None
    tenant_name: Text | None = None
    sort: Sort = "id,desc"

    @property
    def filter(self) -> TaskFilter | None:
        """The filter of the list; None when no task instance can match.

        Task instances of this service never belong to an OceanBase cluster or tenant.
        """
        clusters = (self.cluster_id, self.cluster_name, self.cluter_name)
        if any(given is not None for given in (*clusters, self.tenant_id, self.tenant_name)):
            return None
        return TaskFilter(
            name=self.name,
            statuses=self.status,
            type=self.type,
            host_id=self.host_id,
            host_name=self.host_name,
            cluster=self.obproxy_cluster,
            creator=self.creator,
            start_after=self.start_after,
            start_before=self.start_before,
            order=self.order,
        )
