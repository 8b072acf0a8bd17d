"""What callers may send, as types: bodies and query strings. `requests` reads them.

Fields and limits: facts/ocp-api.md 1.1 (takeOver), 2.2 (list), 6 (validation). Unknown fields are ignored, as in OCP.
"""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from service.types import JSON, Page, TaskFilter, TaskStatus

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


def _integer(text: object) -> object:
    """The integer that a path's or query's text spells; anything else is left for the type to refuse."""
    return int(text) if isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,20}", text) else text


def _words(text: object) -> object:
    return text.split(",") if isinstance(text, str) else text


def _printable[Given: (str, SecretStr)](given: Given) -> Given:
    if CONTROL_CHARACTERS.search(given.get_secret_value() if isinstance(given, SecretStr) else given):
        raise PydanticCustomError("control_characters", "must not contain control characters")
    return given


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


Long = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, AfterValidator(_printable)]
Spelled = BeforeValidator(_integer)
SpelledLong = Annotated[Long, Spelled]
Status = Annotated[TaskStatus, Field(strict=False)]
PageNumber = Annotated[int, Field(alias="page", ge=1, le=2**31 - 1), Spelled]
PageSize = Annotated[int, Field(ge=1, le=2000), Spelled]
MOST_WORDS = 10  # in one comma list


class Parameters(BaseModel):
    """Base of what comes from outside: strict types, camel case."""

    model_config = ConfigDict(strict=True, frozen=True, alias_generator=to_camel)

    object_name: ClassVar[str] = "query"
    """What `object` of a sub-error says."""


class ObproxyTakeOverParam(Parameters):
    """One proxy to take over. `proxysysPasswd` is what root@proxysys has now."""

    host_id: Annotated[Long, AfterValidator(_first)]
    sql_port: Port
    proxysys_passwd: Annotated[SecretStr, AfterValidator(_printable)] | None = None


class TakeOverParam(Parameters):
    """The body of takeOver."""

    object_name = "obproxyTakeOverParam"

    hosts: Annotated[list[ObproxyTakeOverParam], Field(min_length=1), BeforeValidator(_few)]

    @staticmethod
    def context(hosts_limit: int) -> JSON:
        """What validating one body needs to know."""
        return {"hosts_limit": hosts_limit, "seen": set()}


class LogQuery(Parameters):
    """The query of a subtask's log. `after`: only what is behind this row."""

    after: SpelledLong | None = None


class AuditQuery(Parameters):
    """The query of the record of what was changed."""

    user_name: Text | None = None
    number: PageNumber = 1
    size: PageSize = 10

    @property
    def page(self) -> Page:
        """Which part of the list is wanted."""
        return Page(number=self.number, size=self.size)


class TaskQuery(Parameters):
    """The query of the list of task instances."""

    name: Text | None = None
    status: Annotated[list[Status], Field(max_length=MOST_WORDS), BeforeValidator(_words)] | None = None
    type: Literal["MANUAL", "SYS_ONECE", "SCHEDULED", "SYS_SCHEDULED"] | None = None
    host_id: SpelledLong | None = None
    cluster_id: SpelledLong | None = None
    cluster_name: Text | None = None
    tenant_id: SpelledLong | None = None
    tenant_name: Text | None = None
    number: PageNumber = 1
    size: PageSize = 10
    sort: Literal["id", "id,asc", "id,desc"] = "id,desc"

    @property
    def page(self) -> Page:
        """Which part of the list is wanted."""
        return Page(number=self.number, size=self.size)

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
