"""What callers may send, as types: bodies and query strings. `requests` reads them.

Fields and limits: docs/reference/ocp-api.md 1.1 (takeOver), 1.5 (hosts), 2.2 (list), 6 (validation).
Unknown fields are ignored, as in OCP.
"""

from collections import Counter
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
    Long,
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
from service.model.types import JSON, Page


def _words(text: object) -> object:
    return text.split(",") if isinstance(text, str) else text


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
# What is later or earlier is no clock that is wrong, and no calendar of ours could write it.
MOST_EVENTS = 10_000  # of one run on one host


class ObproxyTakeOverParam(Parameters):
    """One proxy to take over. `proxysysPasswd` is what root@proxysys has now."""

    host_id: Annotated[Long, AfterValidator(_first)]
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

    obproxy_server_ids: Annotated[list[Long], Field(min_length=1), BeforeValidator(_few), AfterValidator(_distinct)]
    skip_host_operation_server_ids: Annotated[list[Long], BeforeValidator(_few), AfterValidator(_distinct)] = Field(
        default_factory=list
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
    cluster_id: Long
    host_id: Long
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


class HostQuery(PageQuery):
    """The query of the list of hosts."""

    status: Annotated[list[HostState], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None
    keyword: Text | None = None
    included_service_type: Annotated[list[Service], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None
    excluded_service_type: Annotated[list[Service], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None
    sort: Literal["id", "id,asc", "id,desc"] = "id,asc"

    @property
    def filter(self) -> HostFilter:
        """What the list is narrowed to."""
        return HostFilter(
            statuses=self.status,
            keyword=self.keyword,
            included=self.included_service_type or (),
            excluded=self.excluded_service_type or (),
            descending=self.sort == "id,desc",
        )


class TaskQuery(PageQuery):
    """The query of the list of task instances."""

    name: Text | None = None
    status: Annotated[list[Status], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None
    type: Literal["MANUAL", "SYS_ONECE", "SCHEDULED", "SYS_SCHEDULED", "EXTERNAL"] | None = None
    host_id: SpelledLong | None = None
    cluster_id: SpelledLong | None = None
    cluster_name: Text | None = None
    tenant_id: SpelledLong | None = None
    tenant_name: Text | None = None
    sort: Literal["id", "id,asc", "id,desc"] = "id,desc"

    @property
    def filter(self) -> TaskFilter | None:
        """What the list is narrowed to; None when nothing can fit.

        OceanBase clusters and tenants have no takeovers: whoever narrows to one of them gets an empty list.
        """
        if any(given is not None for given in (self.cluster_id, self.cluster_name, self.tenant_id, self.tenant_name)):
            return None
        return TaskFilter(
            name=self.name,
            statuses=self.status,
            type=self.type,
            host_id=self.host_id,
            descending=self.sort == "id,desc",
        )
