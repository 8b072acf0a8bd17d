"""Tables and lines about requests for a terminal."""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.table import Table

from service.cli.output import Column, Format, table
from service.cli.states import duration, local_time, state
from service.cli.transport import Document
from service.outcome.failure_groups import FailureGroup, HostFailure, group

URGENCY = (
    *("RUNNING", "FAILED", "QUEUED", "WAITING_FOR_HOST", "NOT_STARTED", "WAITING"),
    *("SUPERSEDED", "ROLLED_BACK", "SUCCESSFUL"),
)
"""The states of hosts, those first that a person looks for."""

HOSTS_SHOWN = 8  # names of hosts in one line
NAME_SHARE, MIN_NAME = 3, 20  # a name takes a third of the live display, or 20 characters

REQUESTS = (
    Column(header="ID", value=lambda request: request["id"]),
    Column(header="WORKFLOW", value=lambda request: request["workflow"]),
    Column(header="CLUSTER", value=lambda request: request["clusterName"]),
    Column(header="STATE", value=lambda request: state(request["status"])),
    Column(header="START", value=lambda request: local_time(request["createTime"])),
    Column(header="END", value=lambda request: local_time(request.get("finishTime")), wide=True),
    Column(header="BY", value=lambda request: request["creator"]["name"]),
    Column(header="HOSTS", value=lambda request: counts(request)),
)
HOSTS = (
    Column(header="HOST", value=lambda host: host["hostName"]),
    Column(header="TASK", value=lambda host: host["taskId"]),
    Column(header="STATE", value=lambda host: state(host["state"])),
    Column(header="DONE", value=lambda host: f"{host['finishedSubtasks']}/{host['subtaskCount']}"),
    Column(header="DURATION", value=lambda host: duration(host.get("startTime"), host.get("finishTime"))),
    Column(header="SUBTASK", value=lambda host: host.get("subtask")),
    Column(header="REASON", value=lambda host: host.get("reason"), wide=True),
)


def hosts(found: Sequence[Document], output: Format = Format.TABLE, limit: int | None = None) -> Table:
    """Return a table with one row per host of a request.

    With `limit`, it is for the live display: the most urgent hosts, with long names cut in the middle.
    """
    if limit is None:
        return table(HOSTS, found, output)
    rows = found
    if len(found) > limit:
        rows = sorted(found, key=lambda host: URGENCY.index(host["state"]))[:limit]
    size = max(shutil.get_terminal_size().columns // NAME_SHARE, MIN_NAME)
    return table(HOSTS, [{**host, "hostName": _shortened(host["hostName"], size)} for host in rows], output)


def _shortened(name: str, size: int) -> str:
    """Return a name of at most `size` characters; the names of similar hosts often differ at their end."""
    return name if len(name) <= size else f"{name[: size // 3]}…{name[-(size - size // 3 - 1) :]}"


def host_line(host: Document) -> str:
    """Return the state of a host in one line, for output to a pipe."""
    at = f" at {host['subtask']}" if host["state"] == "FAILED" and "subtask" in host else ""
    return f"{host['hostName']} {host['taskId']} {host['state']}{at}"


def summary(document: Document) -> Iterable[str]:
    """Yield the lines that sum a request up: its status, the numbers of hosts, and the failures by reason."""
    ended = f"{document['status']} after {document['duration']:.1f} s"
    yield f"Request {document['id']}: {ended}. Hosts: {counts(document)}."
    yield from failures(_failure(host) for host in document["hosts"] if host["state"] == "FAILED")
    if document["status"] == "STOPPED":
        yield ""
        yield f"Hosts are not started because too many have failed. To go on: request retry {document['id']}"


def failures(found: Iterable[HostFailure]) -> Iterable[str]:
    """Yield the failures by reason, each group after an empty line."""
    for failed in group(found):
        yield ""
        yield from _group(failed)


def counted(found: Iterable[Document]) -> str:
    """Return the numbers of these hosts by state."""
    return counts({"counts": Counter(host["state"] for host in found)})


def counts(document: Document) -> str:
    """Return the numbers of hosts by state, such as `3 FAILED, 47 SUCCESSFUL`."""
    return ", ".join(f"{document['counts'][state]} {state}" for state in URGENCY if document["counts"][state])


def operation(result: Document, *, of_several: bool = False) -> Iterable[str]:
    """Yield the result of an operation on a request: the hosts that allow it, and the others with the reason.

    With `of_several` requests, it names the request.
    """
    name = f"Request {result['requestId']}: " if of_several else ""
    yield f"{name}{len(result['accepted'])} accepted, {len(result['rejected'])} rejected"
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
