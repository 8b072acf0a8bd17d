"""Request models of the API and the pages: bodies and query strings. `http.requests` parses them.

Fields and limits: docs/reference/ocp-api.md 1.1 (takeOver), 1.5 (hosts), 2.2 (list), 6 (validation).
Unknown fields of a body are ignored, as in OCP; unknown query parameters are rejected.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service.http.request_types import (
    LIST_LIMIT,
    FromText,
    LongFromText,
    NonEmptyText,
    PageNumber,
    PageSize,
    Port,
    RequestModel,
    RowNumber,
    Text,
    Time,
    reject_control_characters,
)
from service.model.fleet import HostFilter, HostStatus, ServiceType
from service.model.requests import RequestFilter, RequestStatus
from service.model.rollout import Rollout
from service.model.states import TaskState
from service.model.tasks import TaskFilter, TaskStatus
from service.model.types import JSON, Order, Page


def _split_commas(text: object) -> object:
    return text.split(",") if isinstance(text, str) else text


def _sort(text: object) -> object:
    """Return the canonical form of a sort; return anything else unchanged, the type then rejects it."""
    if not isinstance(text, str):
        return text
    field, _, direction = text.partition(",")
    canonical = f"{field},{direction.lower() or 'asc'}"
    return canonical if canonical in SORTS else text


def _check_hosts_limit(hosts: object, info: ValidationInfo[JSON]) -> object:
    """Reject too many hosts before each one is validated."""
    limit = info.context["hosts_limit"]
    if isinstance(hosts, list) and len(hosts) > limit:
        raise PydanticCustomError("too_many", "must have at most {limit} elements", {"limit": limit})
    return hosts


def _reject_duplicate(host_id: int, info: ValidationInfo[JSON]) -> int:
    """Reject a repeated host; the context holds the host ids so far."""
    if host_id in info.context["seen"]:
        raise PydanticCustomError("duplicate", "must not occur twice")
    info.context["seen"].add(host_id)
    return host_id


def _distinct(ids: list[int]) -> list[int]:
    """Reject a list with repeated ids."""
    if repeated := [str(number) for number, times in Counter(ids).items() if times > 1]:
        raise PydanticCustomError("repeated", "must not repeat {ids}", {"ids": ", ".join(repeated)})
    return ids


def _not_before_start(moment: datetime, info: ValidationInfo) -> datetime:
    if moment < info.data.get("start_time", moment):
        raise PydanticCustomError("before_start", "must not be before startTime")
    return moment


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
Ids = Annotated[list[LongFromText], BeforeValidator(_check_hosts_limit), AfterValidator(_distinct)]
EVENT_LIMIT = 10_000  # events of one run on one host


class ObproxyTakeOverParam(RequestModel):
    """One OBProxy to take over. `proxysysPasswd` is the current password of root@proxysys."""

    host_id: Annotated[LongFromText, AfterValidator(_reject_duplicate)]
    sql_port: Port
    proxysys_passwd: Annotated[SecretStr, AfterValidator(reject_control_characters)] | None = None


class RolloutParam(RequestModel):
    """The policy of a request: which hosts start when. Unknown fields are rejected, since hosts would start at once.

    The first `canary` hosts start alone, then batches of `batchSize` hosts; without `batchSize`, all others are one
    batch. A batch starts when all hosts of the one before have ended. When more than `maxFailures` hosts have failed,
    no further host starts.
    """

    model_config = ConfigDict(extra="forbid")

    canary: Annotated[int, Field(ge=0, le=2**31 - 1), FromText] = 0
    batch_size: Annotated[int, Field(ge=1, le=2**31 - 1), FromText] | None = None
    max_failures: Annotated[int, Field(ge=0, le=2**31 - 1), FromText] = 0

    @model_validator(mode="after")
    def _has_batches(self) -> "RolloutParam":
        if not self.canary and self.batch_size is None:
            raise PydanticCustomError("no_batches", "must have canary or batchSize")
        return self

    @property
    def policy(self) -> Rollout:
        """The policy."""
        return Rollout(canary=self.canary, batch_size=self.batch_size, max_failures=self.max_failures)


class RolloutBody(RequestModel):
    """The part of a body that has a policy; without `rollout`, all hosts start at once, as in OCP."""

    rollout: RolloutParam | None = None

    @property
    def policy(self) -> Rollout | None:
        """The policy; None = all hosts start at once."""
        return None if self.rollout is None else self.rollout.policy


class TakeOverParam(RolloutBody):
    """The body of takeOver.

    `allowRestart`, which OCP does not have, permits a restart when a desired parameter needs one. Without it the
    setting of the OBProxy cluster applies. With `rollout`, which OCP does not have either, hosts start in batches.
    """

    object_name = "obproxyTakeOverParam"

    hosts: Annotated[list[ObproxyTakeOverParam], Field(min_length=1), BeforeValidator(_check_hosts_limit)]
    allow_restart: bool | None = None

    @staticmethod
    def context(hosts_limit: int) -> JSON:
        """Return the pydantic validation context of one body."""
        return {"hosts_limit": hosts_limit, "seen": set()}


class DiscoverParam(RequestModel):
    """The optional body of discover. Without `hostIds`, all hosts of the inventory are discovered."""

    object_name = "obproxyDiscoverParam"

    host_ids: Annotated[Ids, Field(min_length=1)] | None = None

    @staticmethod
    def context(hosts_limit: int) -> JSON:
        """Return the pydantic validation context of one body."""
        return {"hosts_limit": hosts_limit}


class ReleaseParam(RequestModel):
    """The body of release. The hosts of `skipHostOperationServerIds` are gone: their servers are only forgotten."""

    object_name = "obproxyReleaseParam"

    obproxy_server_ids: Annotated[Ids, Field(min_length=1)]
    skip_host_operation_server_ids: Ids = Field(default_factory=list)

    @staticmethod
    def context(hosts_limit: int) -> JSON:
        """Return the pydantic validation context of one body."""
        return {"hosts_limit": hosts_limit}


class ObproxiesPath(RequestModel):
    """The path of an operation on OBProxy servers: the id of their cluster, and their ids, separated by commas."""

    object_name = "path"

    id: LongFromText
    obproxy_ids: Annotated[Ids, BeforeValidator(_split_commas), Field(min_length=1)]


class RefreshParam(RolloutBody):
    """The optional body of refresh. With `rollout` the servers start in batches."""

    object_name = "obproxyRefreshParam"


class RestartParam(RolloutBody):
    """The optional body of restart. With `rollout` the servers start in batches.

    `allowColdRestart` permits a restart that disconnects clients, where the OBProxy has no hot restart.
    """

    object_name = "obproxyRestartParam"

    allow_cold_restart: bool = False


class ExternalEvent(RequestModel):
    """One ansible-runner event of an external run."""

    event: NonEmptyText
    counter: Annotated[int, Field(ge=1, le=2**31 - 1)]
    created: Time
    stdout: str = ""
    event_data: dict[str, Any] = Field(default_factory=dict)

    def as_ansible_runner(self) -> JSON:
        """Return the event in the format of ansible-runner."""
        return self.model_dump(exclude={"created"})


class ExternalRunParam(RequestModel):
    """The body of externalRuns: the part of an external run that concerns one host.

    `uuid` identifies this part. `playbook` is the file name without suffix, `hostName` the host's name in the inventory
    of the run, `roles` are the selected roles. `rc` is the exit status of ansible-playbook for this host alone; it is
    missing after an interruption.
    """

    object_name = "externalRunParam"

    uuid: UUID
    cluster_id: LongFromText
    host_id: LongFromText
    host_name: NonEmptyText
    sql_port: Port
    playbook: NonEmptyText
    roles: Annotated[list[NonEmptyText], Field(min_length=1, max_length=100)]
    rc: Annotated[int, Field(ge=-255, le=255)] | None = None
    start_time: Time
    finish_time: Annotated[Time, AfterValidator(_not_before_start)]
    # `fail_fast`: the client is a program, so the first invalid event is enough for an error.
    events: Annotated[list[ExternalEvent], Field(max_length=EVENT_LIMIT, fail_fast=True)]


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


class RequestQuery(PageQuery):
    """The query of the list of requests."""

    workflow: Annotated[Text, Field(description="Name of a workflow, such as `takeover`.")] | None = None
    status: Annotated[list[RequestState], Field(max_length=LIST_LIMIT), BeforeValidator(_split_commas)] | None = None
    host_id: LongFromText | None = None
    host_name: Annotated[Text, Field(description="Part of the name of one of its hosts.")] | None = None
    obproxy_cluster: Annotated[Text, Field(description="Part of the name of an OBProxy cluster.")] | None = None
    creator: Text | None = None
    start_after: Annotated[Time, Field(strict=False)] | None = None
    start_before: Annotated[Time, Field(strict=False)] | None = None
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
            order=SORTS[self.sort],
        )


class DetailQuery(RequestModel):
    """The query of a task instance's page: view, subtask whose log is shown, and its execution (`attempt`)."""

    view: Literal["log", "flow"] = "log"
    subtask: LongFromText | None = None
    attempt: LongFromText | None = None


class LinesQuery(RequestModel):
    """The query of a part of a subtask's log: rows behind `after` and before `until`."""

    after: LongFromText = 0
    until: LongFromText | None = None


class AuditQuery(PageQuery):
    """The query of the audit log."""

    user_name: Text | None = None


class ParameterInfoQuery(RequestModel):
    """The query of parameter descriptions; `version` is an OBProxy version without build, or a prefix of it."""

    name: NonEmptyText | None = None
    version: NonEmptyText | None = None


class HostQuery(SortedPageQuery):
    """The query of the list of hosts."""

    status: Annotated[list[HostState], Field(max_length=LIST_LIMIT), BeforeValidator(_split_commas)] | None = None
    keyword: Text | None = None
    included_service_type: (
        Annotated[list[Service], Field(max_length=LIST_LIMIT), BeforeValidator(_split_commas)] | None
    ) = None
    excluded_service_type: (
        Annotated[list[Service], Field(max_length=LIST_LIMIT), BeforeValidator(_split_commas)] | None
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


class TaskQuery(SortedPageQuery):
    """The query of the list of task instances."""

    name: Text | None = None
    status: Annotated[list[Status], Field(max_length=LIST_LIMIT), BeforeValidator(_split_commas)] | None = None
    state: (
        Annotated[TaskState, Field(strict=False, description="The status in more detail, such as queued.")] | None
    ) = None
    type: Literal["MANUAL", "SYS_ONECE", "SCHEDULED", "SYS_SCHEDULED", "EXTERNAL"] | None = None
    host_id: LongFromText | None = None
    host_name: Text | None = None
    obproxy_cluster: Annotated[Text, Field(description="Part of the name of an OBProxy cluster.")] | None = None
    creator: Text | None = None
    start_after: Annotated[Time, Field(strict=False)] | None = None
    start_before: Annotated[Time, Field(strict=False)] | None = None
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
