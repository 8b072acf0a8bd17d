"""What callers may send, as types: bodies and query strings. `requests` reads them.

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
    Field,
    SecretStr,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from service.http.request_schema import (
    MOST_WORDS,
    Moment,
    PageNumber,
    PageSize,
    Parameters,
    Port,
    SpelledLong,
    Text,
    Word,
    printable,
)
from service.model.fleet import HostFilter, HostStatus, ServiceType
from service.model.tasks import TaskFilter, TaskStatus
from service.model.types import JSON, Order, Page


def _words(text: object) -> object:
    return text.split(",") if isinstance(text, str) else text


def _sort(text: object) -> object:
    """Return the way to sort that `text` spells; anything else is left for the type to reject."""
    if not isinstance(text, str):
        return text
    field, _, direction = text.partition(",")
    spelled = f"{field},{direction.lower() or 'asc'}"
    return spelled if spelled in SORTS else text


def _few(hosts: object, info: ValidationInfo[JSON]) -> object:
    """Refuse too many hosts before each of them is looked at."""
    limit = info.context["hosts_limit"]
    if isinstance(hosts, list) and len(hosts) > limit:
        raise PydanticCustomError("too_many", "must have at most {limit} elements", {"limit": limit})
    return hosts


def _first(host_id: int, info: ValidationInfo[JSON]) -> int:
    """Refuse a host that stood further up already; the context keeps which did."""
    if host_id in info.context["seen"]:
        raise PydanticCustomError("duplicate", "must not be there twice")
    info.context["seen"].add(host_id)
    return host_id


def _distinct(ids: list[int]) -> list[int]:
    """Refuse a list with repeated ids."""
    if repeated := [str(number) for number, times in Counter(ids).items() if times > 1]:
        raise PydanticCustomError("repeated", "must not repeat {ids}", {"ids": ", ".join(repeated)})
    return ids


def _not_before_start(moment: datetime, info: ValidationInfo) -> datetime:
    if moment < info.data.get("start_time", moment):
        raise PydanticCustomError("before_start", "must not be before startTime")
    return moment


Status = Annotated[TaskStatus, Field(strict=False)]
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
ServerIds = Annotated[list[SpelledLong], BeforeValidator(_few), AfterValidator(_distinct)]
# What is later or earlier is no clock that is wrong, and no calendar of ours could write it.
MOST_EVENTS = 10_000  # of one run on one host


class ObproxyTakeOverParam(Parameters):
    """One proxy to take over. `proxysysPasswd` is what root@proxysys has now."""

    host_id: Annotated[SpelledLong, AfterValidator(_first)]
    sql_port: Port
    proxysys_passwd: Annotated[SecretStr, AfterValidator(printable)] | None = None


class TakeOverParam(Parameters):
    """The body of takeOver.

    `allowRestart`, which OCP does not have: whether an OBProxy may be restarted where a wished parameter acts only
    after that. Without it the OBProxy cluster's word counts.
    """

    object_name = "obproxyTakeOverParam"

    hosts: Annotated[list[ObproxyTakeOverParam], Field(min_length=1), BeforeValidator(_few)]
    allow_restart: bool | None = None

    @staticmethod
    def context(hosts_limit: int) -> JSON:
        """What validating one body needs to know."""
        return {"hosts_limit": hosts_limit, "seen": set()}


class ReleaseParam(Parameters):
    """The body of release. The hosts of `skipHostOperationServerIds` are gone: their servers are only forgotten."""

    object_name = "obproxyReleaseParam"

    obproxy_server_ids: Annotated[
        list[SpelledLong], Field(min_length=1), BeforeValidator(_few), AfterValidator(_distinct)
    ]
    skip_host_operation_server_ids: Annotated[list[SpelledLong], BeforeValidator(_few), AfterValidator(_distinct)] = (
        Field(default_factory=list)
    )

    @staticmethod
    def context(hosts_limit: int) -> JSON:
        """What validating one body needs to know."""
        return {"hosts_limit": hosts_limit}


class ExternalEvent(Parameters):
    """One thing that Ansible said, in the shape of ansible-runner's events; `eventData` is read by `events` alone."""

    event: Word
    counter: Annotated[int, Field(ge=1, le=2**31 - 1)]
    created: Moment
    stdout: str = ""
    event_data: dict[str, Any] = Field(default_factory=dict)

    def as_ansible_runner(self) -> JSON:
        """The event as ansible-runner would have given it."""
        return self.model_dump(exclude={"created"})


class ExternalRunParam(Parameters):
    """The body of externalRuns: a run that somebody started by hand, as far as it concerns one host.

    `uuid` is this host's own. `playbook` is its name without the suffix. `hostName` is what the run's inventory calls
    the host, `roles` those the run was to run, `rc` how ansible-playbook would have ended with this host alone; without
    it the run was interrupted.
    """

    object_name = "externalRunParam"

    uuid: UUID
    cluster_id: SpelledLong
    host_id: SpelledLong
    host_name: Word
    sql_port: Port
    playbook: Word
    roles: Annotated[list[Word], Field(min_length=1, max_length=100)]
    rc: Annotated[int, Field(ge=-255, le=255)] | None = None
    start_time: Moment
    finish_time: Annotated[Moment, AfterValidator(_not_before_start)]
    # A program has written them: the first bad one says as much as thousands of them.
    events: Annotated[list[ExternalEvent], Field(max_length=MOST_EVENTS, fail_fast=True)]


class LogQuery(Parameters):
    """The query of a subtask's log. `after`: only what is behind this row."""

    after: SpelledLong | None = None


class EventsQuery(Parameters):
    """The query of a task instance's events. `after`: what is behind this row, 0 = all; Last-Event-ID goes first."""

    after: Annotated[SpelledLong, Field(ge=0)] | None = None


class PageQuery(Parameters):
    """The query of a list that comes in pages."""

    number: PageNumber = 1
    size: PageSize = 10

    @property
    def page(self) -> Page:
        """Which part of the list is wanted."""
        return Page(number=self.number, size=self.size)


class SortedPageQuery(PageQuery):
    """The query of a list that has an order."""

    sort: Sort = "id,asc"

    @property
    def order(self) -> Order:
        """The order that the list is wanted in."""
        return SORTS[self.sort]


class ClusterQuery(SortedPageQuery):
    """The query of the list of OBProxy clusters."""


class DetailQuery(Parameters):
    """The query of a task instance's page: which way it is shown, which subtask's log, which attempt of it."""

    view: Literal["log", "flow"] = "log"
    subtask: SpelledLong | None = None
    attempt: SpelledLong | None = None
    done: Literal["takeover", "retry", "rollback", "skip", "cancel"] | None = None


class LinesQuery(Parameters):
    """Which rows of a subtask's log: behind `after`, before `until`."""

    after: SpelledLong = 0
    until: SpelledLong | None = None


class AuditQuery(PageQuery):
    """The query of the record of what was changed."""

    user_name: Text | None = None


class ParameterInfoQuery(Parameters):
    """Which parameters of OBProxy: of this name, of this version (without its build, or the beginning of some)."""

    name: Word | None = None
    version: Word | None = None


class HostQuery(SortedPageQuery):
    """The query of the list of hosts."""

    status: Annotated[list[HostState], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None
    keyword: Text | None = None
    included_service_type: Annotated[list[Service], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None
    excluded_service_type: Annotated[list[Service], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None

    @property
    def filter(self) -> HostFilter:
        """What the list is narrowed to."""
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
    status: Annotated[list[Status], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None
    type: Literal["MANUAL", "SYS_ONECE", "SCHEDULED", "SYS_SCHEDULED", "EXTERNAL"] | None = None
    host_id: SpelledLong | None = None
    cluster_id: SpelledLong | None = None
    cluster_name: Text | None = None
    cluter_name: (
        Annotated[Text, Field(description="The same as `clusterName`, as OCP's documents spell it.")] | None
    ) = None
    tenant_id: SpelledLong | None = None
    tenant_name: Text | None = None
    sort: Sort = "id,desc"

    @property
    def filter(self) -> TaskFilter | None:
        """What the list is narrowed to; None when nothing can fit.

        OceanBase clusters and tenants have no takeovers: whoever narrows to one of them gets an empty list.
        """
        clusters = (self.cluster_id, self.cluster_name, self.cluter_name)
        if any(given is not None for given in (*clusters, self.tenant_id, self.tenant_name)):
            return None
        return TaskFilter(
            name=self.name,
            statuses=self.status,
            type=self.type,
            host_id=self.host_id,
            order=self.order,
        )
