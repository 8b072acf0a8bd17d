"""JSON objects of the discoveries of hosts: their types and their construction. OCP has no such objects."""

from collections.abc import Sequence
from datetime import datetime
from typing import NotRequired, TypedDict

from service.fleet import discoveries
from service.fleet.discoveries import DiscoveryState, FailedRule, FoundObproxy
from service.model.wire import Timestamp, present, timestamp_or_none


class Rule(TypedDict):
    """A rule that fails: what it demands, what was found, and how to fix it."""

    fix: str
    found: str
    rule: str


class DiscoveredObproxy(TypedDict):
    """An OBProxy process of a host. `rules` prevent a takeover; none = a takeover would start.

    `obproxyServerId`, `clusterId` and `clusterName` are of the OBProxy server if this service manages it. `managedBy`
    and `managedCluster` are of the manager that the local fact of the host names. `login` is the password of
    root@proxysys that is valid (`given`, `cluster`, `recorded`, `empty`), or `denied`, `unreachable` or `untried`.
    """

    appName: NotRequired[str | None]
    clusterId: NotRequired[int | None]
    clusterName: NotRequired[str | None]
    home: NotRequired[str | None]
    login: NotRequired[str | None]
    managed: bool
    managedBy: NotRequired[str | None]
    managedCluster: NotRequired[str | None]
    obproxyServerId: NotRequired[int | None]
    owner: NotRequired[str | None]
    package: NotRequired[str | None]
    pid: int
    rules: list[Rule]
    sqlPort: int
    startMode: NotRequired[str | None]
    supervisor: NotRequired[str | None]
    version: NotRequired[str | None]


class HostDiscovery(TypedDict):
    """A host with the result of its last discovery, which ended at `finishTime`, `age` seconds ago.

    PENDING: a discovery is requested and has not ended; the result is of the one before. `message` is the reason of
    UNREACHABLE and FAILED; `rules` are its failed rules, or those of a host without an OBProxy.
    """

    age: NotRequired[int | None]
    finishTime: NotRequired[Timestamp | None]
    hostId: int
    hostName: str
    ip: str
    message: NotRequired[str | None]
    obproxies: list[DiscoveredObproxy]
    requestTime: NotRequired[Timestamp | None]
    requester: NotRequired[str | None]
    rules: list[Rule]
    state: DiscoveryState


class DiscoveryEvent(TypedDict):
    """An event of the stream of discoveries: the hosts that have changed, and the number of all PENDING ones."""

    contents: list[HostDiscovery]
    pending: int


def discovery_event(found: Sequence[discoveries.HostDiscovery], pending: int, now: datetime) -> DiscoveryEvent:
    """Return an event with the documents of hosts."""
    return {"contents": [host_discovery(each, now) for each in found], "pending": pending}


def host_discovery(found: discoveries.HostDiscovery, now: datetime) -> HostDiscovery:
    """Return the document of a host's discovery."""
    document: HostDiscovery = {
        "age": None if found.finish_time is None else max(0, int((now - found.finish_time).total_seconds())),
        "finishTime": timestamp_or_none(found.finish_time),
        "hostId": found.host.id,
        "hostName": found.host.name,
        "ip": found.host.address,
        "message": found.message,
        "obproxies": [_obproxy(each) for each in found.obproxies],
        "requestTime": timestamp_or_none(found.request_time),
        "requester": found.requester,
        "rules": [_rule(each) for each in found.rules],
        "state": found.state,
    }
    return present(document)


def _obproxy(found: FoundObproxy) -> DiscoveredObproxy:
    server = found.server
    document: DiscoveredObproxy = {
        "appName": found.app_name,
        "clusterId": server.cluster_id if server else None,
        "clusterName": server.cluster_name if server else None,
        "home": found.home,
        "login": found.login,
        "managed": server is not None,
        "managedBy": found.managed_by,
        "managedCluster": found.managed_cluster,
        "obproxyServerId": server.id if server else None,
        "owner": found.owner,
        "package": found.package,
        "pid": found.pid,
        "rules": [_rule(each) for each in found.rules],
        "sqlPort": found.sql_port,
        "startMode": found.start_mode,
        "supervisor": found.supervisor,
        "version": found.version,
    }
    return present(document)


def _rule(failed: FailedRule) -> Rule:
    return {"fix": failed.fix, "found": failed.found, "rule": failed.rule}
