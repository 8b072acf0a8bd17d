"""Bodies of requests, and the paths that name OBProxy servers. `http.requests` parses them.

Fields and limits: docs/reference/ocp-api.md 1.1 (takeOver), 6 (validation). Unknown fields are ignored, as in OCP.
"""

from collections import Counter
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from service.http.request_types import (
    FromText,
    LongFromText,
    NonEmptyText,
    Port,
    RequestModel,
    Time,
    reject_control_characters,
    split_commas,
)
from service.model.rollout import Rollout
from service.model.types import JSON


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


class ReleaseParam(RolloutBody):
    """The body of release. The hosts of `skipHostOperationServerIds` are gone: their servers are only forgotten.

    With `rollout` the servers start in batches.
    """

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
    obproxy_ids: Annotated[Ids, BeforeValidator(split_commas), Field(min_length=1)]


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
