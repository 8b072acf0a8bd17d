"""How a run ended, by the rule of docs/reference/event-streams.md D.0: what is known of its end goes before what events
say."""

import re
from dataclasses import dataclass
from typing import Literal

from service.outcome import ansible_results
from service.outcome.failures import Failures, message

QUOTE_LIMIT = 1_500  # characters of the last output that a reason quotes

Code = Literal[
    "",  # SUCCESSFUL
    "TASK_FAILED",  # an Ansible task failed
    "BAD_ARGUMENTS",  # … namely the one that validates a role's arguments
    "UNREACHABLE",  # the host could not be reached
    "TIMEOUT",  # the run was stopped at a deadline
    "CANCELED",  # the run was stopped on request, and nothing of it is left
    "CANCEL_INCOMPLETE",  # the same, but processes of it are
    "INTERRUPTED",  # the service lost the run: nobody can say how it ended
    "NOT_STARTED",  # Ansible refused to begin
    "ABORTED",  # Ansible ended before the playbook did
    "INCONSISTENT",  # Ansible says that all is well, and what it reports says otherwise
    "NO_HOSTS",  # the play matched no host
    "HOST_MISSING",  # the run did nothing on the host
]

_UNFINISHED = (None, "", "unstarted", "starting", "running")  # words of ansible-runner that are no end
_QUESTION = re.compile(r"(password|passphrase|yes/no|\[y/n\]).{0,80}[:?]\s*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a run ended, as far as the service knows."""

    rc: int | None  # exit status of ansible-playbook; None = killed or unknown
    status: str | None  # ansible-runner's last word; None = it never came to have one
    canceled: bool = False  # it was asked to stop
    tree_gone: bool = True  # no process of it is left
    timed_out: bool = False
    limit: float | None = None  # seconds, of the deadline that was hit
    elapsed: float | None = None  # seconds
    last_lines: str = ""  # the end of what Ansible printed; used where no event came
    events_complete: bool = True
    start_error: str = ""  # why it could not be started


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The hosts that Ansible's closing statistics name."""

    processed: frozenset[str]
    failures: frozenset[str]
    dark: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the events of a run have shown when it ends."""

    host: str
    started: bool  # the playbook did
    task: str  # name of the Ansible task that was running; empty = none
    failures: Failures  # at the end
    tail: str  # the end of all that was printed
    stats: Stats | None
    no_hosts: bool


def cause(end: RunEnd, seen: Evidence) -> tuple[Code, str]:
    """Why the run failed, as code and sentence; an empty code when it did not."""
    ended = _ended(end, seen)
    if end.canceled or end.status == "canceled":
        if not end.tree_gone:
            return "CANCEL_INCOMPLETE", f"Canceled{_during(seen)}, but processes of the run are still alive."
        if ended[0]:  # else all was done before the cancel could stop anything
            return "CANCELED", f"Canceled{_during(seen)}."
    if end.timed_out or end.status == "timeout":
        return "TIMEOUT", _timeout(end, seen)
    return ended


def _ended(end: RunEnd, seen: Evidence) -> tuple[Code, str]:
    if end.start_error:
        return "NOT_STARTED", end.start_error
    if end.rc is None and end.status in _UNFINISHED:
        return "INTERRUPTED", f"The run was lost{_during(seen)}: its process is gone and left no exit status."
    if not seen.started:
        return "NOT_STARTED", f"Ansible did not start the playbook ({_exit(end)}).{_quote(end, seen)}"
    if end.rc != 0:
        return _failed(end, seen)
    if seen.no_hosts:
        return "NO_HOSTS", f"The play matched no host, and should have matched {seen.host}."
    if seen.stats is None:
        return "INCONSISTENT", f"Ansible ended well without closing statistics{_during(seen)}.{_quote(end, seen)}"
    if seen.host not in seen.stats.processed:
        return "HOST_MISSING", f"Ansible ended well without having done anything on {seen.host}."
    if (hosts := seen.stats.failures | seen.stats.dark) and not _is_rescued(seen, seen.stats):
        failure = seen.failures.passed_over or seen.failures.last
        why = f" {failure.message}" if failure else ""
        named = ansible_results.clean(", ".join(sorted(hosts)), 200)
        return "INCONSISTENT", f"Ansible ended well, yet counts a failure on {named}.{why}"
    return "", ""


def _is_rescued(seen: Evidence, stats: Stats) -> bool:
    """Whether the host's failures were all rescued: Ansible goes on counting an include of a missing file."""
    failures = seen.failures
    is_over = failures.rescued and not failures.standing and failures.passed_over is None
    return is_over and not stats.dark and stats.failures == {seen.host}


def _failed(end: RunEnd, seen: Evidence) -> tuple[Code, str]:
    if seen.stats is None:
        return (
            "ABORTED",
            f"Ansible ended{_during(seen)} before the playbook was through ({_exit(end)}).{_quote(end, seen)}",
        )
    if not seen.stats.failures | seen.stats.dark:
        return "ABORTED", f"Ansible failed ({_exit(end)}) although no Ansible task did.{_quote(end, seen)}"
    code: Code = "TASK_FAILED" if seen.stats.failures else "UNREACHABLE"
    failures = seen.failures.standing or tuple(filter(None, [seen.failures.last]))
    if not failures:
        return code, f"The result that says why was lost.{_quote(end, seen)}"
    if failures[0].code == "BAD_ARGUMENTS":
        code = "BAD_ARGUMENTS"
    return code, message(failures)


def _timeout(end: RunEnd, seen: Evidence) -> str:
    took = "" if end.elapsed is None else f" after {end.elapsed:.0f} s"
    limit = "" if end.limit is None else f" The limit is {end.limit:.0f} s."
    asked = any(_QUESTION.search(ansible_results.clean(text[-200:])) for text in (seen.tail, end.last_lines))
    hint = " It seems to wait for an answer that nobody can give: see the last line of the log." if asked else ""
    return f"Stopped{took}{_during(seen)}.{limit}{hint}"


def _during(seen: Evidence) -> str:
    return f' during Ansible task "{seen.task}"' if seen.task else ""


def _exit(end: RunEnd) -> str:
    return "killed" if end.rc is None else f"exit status {end.rc}"


def _quote(end: RunEnd, seen: Evidence) -> str:
    text = ansible_results.paragraph(seen.tail or ansible_results.clean(end.last_lines[-QUOTE_LIMIT:]))
    return f" Its last output: {text}" if text else ""
