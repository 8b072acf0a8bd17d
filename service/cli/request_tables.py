"""Tables and lines about requests for a terminal."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from service.cli.client import Document
from service.cli.tables import STATUS_STYLES
from service.outcome.failure_groups import FailureGroup, HostFailure, group

STATE_STYLES = {
    **STATUS_STYLES,
    "STOPPED": ("‖", "bold yellow"),
}
URGENCY = (
    *("RUNNING", "FAILED", "QUEUED", "WAITING_FOR_HOST", "NOT_STARTED", "WAITING"),
    *("SUPERSEDED", "ROLLED_BACK", "SUCCESSFUL"),
)
"""The states of hosts, those first that a person looks for."""

HOSTS_SHOWN = 8  # names of hosts in one line


def request_list(documents: Sequence[Document]) -> Table:
    """Return a table with one row per request."""
    shown = Table("id", "workflow", "cluster", "status", "hosts", "start", "by", box=None, pad_edge=False)
    for document in documents:
        start = f"{datetime.fromisoformat(document['createTime']).astimezone():%Y-%m-%d %H:%M:%S}"
        about = (str(document["id"]), document["workflow"], document["clusterName"])
        shown.add_row(*about, _state(document["status"]), counts(document), start, document["creator"]["name"])
    return shown


def hosts(document: Document, limit: int | None = None) -> Table:
    """Return a table with one row per host of a request; with `limit`, the most urgent ones."""
    rows = list(document["hosts"])
    if limit is not None and len(rows) > limit:
        rows = sorted(rows, key=lambda host: URGENCY.index(host["state"]))[:limit]
    shown = Table("host", "task", "state", "done", "time", "subtask", box=None, pad_edge=False)
    for host in rows:
        done = f"{host['finishedSubtasks']}/{host['subtaskCount']}"
        subtask = host.get("subtask", "")
        shown.add_row(host["hostName"], str(host["taskId"]), _state(host["state"]), done, _elapsed(host), subtask)
    return shown


def host_line(host: Document) -> str:
    """Return the state of a host in one line, for output to a pipe."""
    at = f" at {host['subtask']}" if host["state"] == "FAILED" and "subtask" in host else ""
    return f"{host['hostName']} {host['taskId']} {host['state']}{at}"


def summary(document: Document) -> Iterable[str]:
    """Yield the lines that sum a request up: its status, the numbers of hosts, and the failures by reason."""
    ended = f"{document['status']} after {document['duration']:.1f} s"
    yield f"Request {document['id']}: {ended}. Hosts: {counts(document)}."
    failed = [host for host in document["hosts"] if host["state"] == "FAILED"]
    for found in group(map(_failure, failed)):
        yield ""
        yield from _group(found)
    if document["status"] == "STOPPED":
        yield ""
        yield f"Hosts are not started because too many have failed. To go on: request retry {document['id']}"


def counts(document: Document) -> str:
    """Return the numbers of hosts by state, such as `3 FAILED, 47 SUCCESSFUL`."""
    return ", ".join(f"{document['counts'][state]} {state}" for state in URGENCY if document["counts"][state])


def operation(result: Document) -> Iterable[str]:
    """Yield the result of an operation on a request: the hosts that allow it, and the others with the reason."""
    yield f"{len(result['accepted'])} accepted, {len(result['rejected'])} rejected"
    for host in result["rejected"]:
        yield f"{host['hostName']} {host['taskId']}: {host['message']}"


def _group(found: FailureGroup) -> Iterable[str]:
    number = len(found.hosts)
    more = f" and {number - HOSTS_SHOWN} more" if number > HOSTS_SHOWN else ""
    names = ", ".join(host.host_name for host in found.hosts[:HOSTS_SHOWN])
    yield f"{number} {'host' if number == 1 else 'hosts'} failed at {found.subtask}: {names}{more}"
    if not found.rules:
        yield f"    {found.message}"
    for rule in found.rules:
        yield f"    Rule:   {rule.rule}"
        yield f"    Found:  {rule.found}"
        yield f"    Fix:    {rule.fix}"


def _failure(host: Document) -> HostFailure:
    return HostFailure(
        host_name=host["hostName"],
        task_id=host["taskId"],
        subtask=host.get("subtask", ""),
        reason=host.get("reason", ""),
    )


def _state(state: str) -> Text:
    mark, style = STATE_STYLES[state]
    return Text(f"{mark} {state}", style=style)


def _elapsed(host: Document) -> str:
    if "startTime" not in host:
        return ""
    end = datetime.fromisoformat(host["finishTime"]) if "finishTime" in host else datetime.now(UTC)
    return f"{(end - datetime.fromisoformat(host['startTime'])).total_seconds():.1f} s"
