"""Decides why a run failed, by the rule of docs/reference/event-streams.md D.0.

Facts about the end of the run take precedence over its events.
"""

import re
from dataclasses import dataclass
from typing import Literal

from service.outcome import ansible_results
from service.outcome.failures import Failures, message

QUOTE_LIMIT = 1_500  # characters of the last output in a reason

Code = Literal[
    "",  # SUCCESSFUL
    "FINDINGS",  # in check mode, rules do not hold; the run continues
    "TASK_FAILED",  # an Ansible task failed
    "BAD_ARGUMENTS",  # … the one that validates a role's arguments
    "UNREACHABLE",  # the host could not be reached
    "TIMEOUT",  # the run was stopped at a deadline
    "CANCELED",  # the run was stopped on request, and all its processes have ended
    "CANCEL_INCOMPLETE",  # the run was stopped on request, but some of its processes are alive
    "INTERRUPTED",  # the service lost the run, and its outcome is unknown
    "NOT_STARTED",  # Ansible did not start the playbook
    "ABORTED",  # Ansible ended before the end of the playbook
    "INCONSISTENT",  # Ansible's exit status reports success, but its events do not
    "NO_HOSTS",  # the play matched no host
    "HOST_MISSING",  # the run did nothing on the host
]

_UNFINISHED = (None, "", "unstarted", "starting", "running")  # statuses of ansible-runner before the end
_PROMPT = re.compile(r"(password|passphrase|yes/no|\[y/n\]).{0,80}[:?]\s*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """The end of a run, as the service knows it."""

    rc: int | None  # exit status of ansible-playbook; None = killed or unknown
    status: str | None  # last status of ansible-runner; None = unknown
    canceled: bool = False  # a cancel was requested
    tree_gone: bool = True  # all its processes have ended
    timed_out: bool = False
    limit: float | None = None  # seconds, of the exceeded time limit
    elapsed: float | None = None  # seconds
    last_lines: str = ""  # Ansible's last output, used when no event arrived
    events_complete: bool = True
    start_error: str = ""  # why it could not be started


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The hosts in Ansible's closing statistics, by result."""

    processed: frozenset[str]
    failures: frozenset[str]
    dark: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Summary of a run's events at its end."""

    host: str
    started: bool  # the playbook has started
    task: str  # name of the running Ansible task; empty = none
    failures: Failures  # at the end
    tail: str  # the last printed text
    stats: Stats | None
    no_hosts: bool


def cause(end: RunEnd, evidence: Evidence) -> tuple[Code, str]:
    """Return why the run failed as (code, sentence); an empty code when it succeeded."""
    ended = _cause_without_stop(end, evidence)
    if end.canceled or end.status == "canceled":
        if not end.tree_gone:
            return "CANCEL_INCOMPLETE", f"Canceled{_during(evidence)}, but processes of the run are still alive."
        if ended[0]:  # otherwise the run succeeded before the cancel
            return "CANCELED", f"Canceled{_during(evidence)}."
    if end.timed_out or end.status == "timeout":
        return "TIMEOUT", _timeout(end, evidence)
    return ended


def _cause_without_stop(end: RunEnd, evidence: Evidence) -> tuple[Code, str]:
    if end.start_error:
        return "NOT_STARTED", end.start_error
    if end.rc is None and end.status in _UNFINISHED:
        return "INTERRUPTED", f"The run was lost{_during(evidence)}: its process is gone and left no exit status."
    if not evidence.started:
        return "NOT_STARTED", f"Ansible did not start the playbook ({_exit(end)}).{_quote(end, evidence)}"
    if end.rc != 0:
        return _failed(end, evidence)
    if evidence.no_hosts:
        return "NO_HOSTS", f"The play matched no host, and should have matched {evidence.host}."
    if evidence.stats is None:
        return (
            "INCONSISTENT",
            f"Ansible ended well without closing statistics{_during(evidence)}.{_quote(end, evidence)}",
        )
    if evidence.host not in evidence.stats.processed:
        return "HOST_MISSING", f"Ansible ended well without having done anything on {evidence.host}."
    if (hosts := evidence.stats.failures | evidence.stats.dark) and not _is_rescued(evidence, evidence.stats):
        failure = evidence.failures.unexplained or evidence.failures.last
        why = f" {failure.message}" if failure else ""
        named = ansible_results.clean(", ".join(sorted(hosts)), 200)
        return "INCONSISTENT", f"Ansible ended well, yet counts a failure on {named}.{why}"
    return "", ""


def _is_rescued(evidence: Evidence, stats: Stats) -> bool:
    """Return whether all failures of the host were rescued.

    Ansible's statistics count an include of a missing file as failed, even when it was rescued.
    """
    failures = evidence.failures
    all_rescued = failures.rescued and not failures.pending and failures.unexplained is None
    return all_rescued and not stats.dark and stats.failures == {evidence.host}


def _failed(end: RunEnd, evidence: Evidence) -> tuple[Code, str]:
    if evidence.stats is None:
        return (
            "ABORTED",
            f"Ansible ended{_during(evidence)} before the playbook was through ({_exit(end)}).{_quote(end, evidence)}",
        )
    if not evidence.stats.failures | evidence.stats.dark:
        return "ABORTED", f"Ansible failed ({_exit(end)}) although no Ansible task did.{_quote(end, evidence)}"
    code: Code = "TASK_FAILED" if evidence.stats.failures else "UNREACHABLE"
    failures = evidence.failures.pending or tuple(filter(None, [evidence.failures.last]))
    if not failures:
        return code, f"The failed result was lost.{_quote(end, evidence)}"
    if failures[0].code == "BAD_ARGUMENTS":
        code = "BAD_ARGUMENTS"
    return code, message(failures)


def _timeout(end: RunEnd, evidence: Evidence) -> str:
    took = "" if end.elapsed is None else f" after {end.elapsed:.0f} s"
    limit = "" if end.limit is None else f" The limit is {end.limit:.0f} s."
    is_prompt = any(_PROMPT.search(ansible_results.clean(text[-200:])) for text in (evidence.tail, end.last_lines))
    hint = " It seems to wait for input at a prompt: see the last line of the log." if is_prompt else ""
    return f"Stopped{took}{_during(evidence)}.{limit}{hint}"


def _during(evidence: Evidence) -> str:
    return f' during Ansible task "{evidence.task}"' if evidence.task else ""


def _exit(end: RunEnd) -> str:
    return "killed" if end.rc is None else f"exit status {end.rc}"


def _quote(end: RunEnd, evidence: Evidence) -> str:
    text = ansible_results.paragraph(evidence.tail or ansible_results.clean(end.last_lines[-QUOTE_LIMIT:]))
    return f" Its last output: {text}" if text else ""
