"""Determines the status of each subtask from the events of a run, by pure functions.

A run executes the remaining roles of one host in order; the discovery before them belongs to the first role. A role
runs from its first event until the first event of a later role. A pending failure, neither ignored nor rescued, keeps
its role from being ended by a later one. An event belongs to the role that the playbook imports, also when that role
includes, imports or depends on other roles. The outcome of the last role is known only at the end of the run, by the
rule of docs/reference/event-streams.md D.0. Until then a failed result is only a message.

    progress = begin(roles, host)
    progress, changes = advance(progress, event)  # every event, in order
    changes = finish(progress, RunEnd(rc=0, status="successful"))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from service.model.changes import HostChange
from service.outcome import ansible_results, host_changes, server_facts
from service.outcome.failures import NO_FAILURES, Failure, FailureCode, Failures, parse_blocks
from service.outcome.verdict import QUOTE_LIMIT, Code, Evidence, RunEnd, Stats, cause

__all__ = ["Change", "Changed", "Code", "Ended", "Logged", "Progress", "RunEnd", "ServerFacts", "Started", "Verdict"]
__all__ += ["advance", "begin", "finish"]

EVENT_LIMIT = 16_384  # characters that one event may write into a log
ROLE_LIMIT = 1_048_576  # characters in the log of one role in one run, without rc and msg of failures
RESULTS = ("runner_on_ok", "runner_on_skipped", "runner_on_failed", "runner_on_unreachable")
MAX_ITEMS = 10  # failed items of one loop in a message


class Verdict(StrEnum):
    """Outcome of a role."""

    SUCCESSFUL = "SUCCESSFUL"
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True)
class Started:
    """The run has reached `role`."""

    role: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The run has ended `role`. Without a Started before it, the run failed before it reached the role."""

    role: str
    verdict: Verdict
    code: Code
    message: str  # one line for users; for a success the counts of its results, possibly empty


@dataclass(frozen=True, kw_only=True)
class Logged:
    """Complete lines for the log of `role`, without escape sequences and without a final line break."""

    role: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """Facts that `role` reported about the OBProxy server: names in `server_facts.VALIDATORS` with valid values."""

    role: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Changes that `role` has made on the host, or would make in check mode."""

    role: str
    changes: Sequence[HostChange]


Change = Started | Ended | Logged | ServerFacts | Changed


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of a run after some of its events."""

    roles: tuple[str, ...]
    host: str
    token: int | None
    check: bool  # the run is in check mode: findings fail a role and do not end the run
    counter: int = 0  # of the last event
    complete: bool = True  # no event is missing so far
    index: int = -1  # of the running role; -1 = the playbook has not started
    reached: bool = False  # an event of the running role itself has arrived
    task: str = ""  # name of the running Ansible task
    tally: ansible_results.Tally = ansible_results.EMPTY_TALLY  # of the running role
    findings: tuple[str, ...] = ()  # messages of the running role in check mode
    unchecked: tuple[str, ...] = ()  # what the running role could not check
    failures: Failures = NO_FAILURES
    handlers: frozenset[str] = frozenset()  # uuids of handlers that ran: their events do not start roles
    items: tuple[str, ...] = ()  # messages of the failed items of the running loop
    logged: int = 0  # characters, for the running role
    changed: int = 0  # changes on the host, by the running role
    early: str = ""  # text printed before the playbook started
    tail: str = ""  # the last printed text
    stats: Stats | None = None
    no_hosts: bool = False

    @property
    def role(self) -> str | None:
        """The running role; None before the playbook has started."""
        return self.roles[self.index] if self.index >= 0 else None


def begin(roles: Sequence[str], host: str, *, token: int | None = None, check: bool = False) -> Progress:
    """Return the progress before the first event, for `roles` (in playbook order) on `host` (its inventory name).

    In check mode, a role whose results report findings has failed, and the run continues with the next role.

    `token` is the run's environment variable JOB_ID, a secret of 62 random bits. Ansible's callback puts it into every
    event. An event without it is text that the managed host has made to look like an event.
    """
    if not roles or len(set(roles)) != len(roles):
        raise ValueError(f"a run needs roles, each of them once, not {list(roles)}")
    return Progress(roles=tuple(roles), host=host, token=token, check=check)


def advance(progress: Progress, event: Mapping[str, Any]) -> tuple[Progress, tuple[Change, ...]]:
    """Return the progress after one event and the changes it makes. The event can have any shape.

    A repeated event, by its counter, changes nothing.
    """
    event, notes = ansible_results.mapping(event), []
    counter = event.get("counter")
    if isinstance(counter, int):
        if counter <= progress.counter:
            return progress, ()
        if counter > progress.counter + 1:
            progress = replace(progress, complete=False)
            notes.append("[events of this run were lost here]")
        progress = replace(progress, counter=counter)
    if progress.token is not None and not ansible_results.is_authentic(event, progress.token):
        notes += _security_note(event)
        event = {"stdout": event.get("stdout")}
    progress = _settle(progress, event)
    progress, moves = _move(progress, event)
    progress = _take(progress, event)
    facts, invalid = _server_facts(progress, event)
    progress, made, left_out = _changes(progress, event)
    progress, lines = _log(progress, event, [*notes, *invalid, *left_out])
    return progress, (*moves, *lines, *facts, *made)


def finish(progress: Progress, end: RunEnd) -> tuple[Change, ...]:
    """Return the changes at the end of the run, for the roles that have not ended yet."""
    seen = Evidence(
        host=progress.host,
        started=progress.index >= 0,
        task=progress.task,
        failures=progress.failures.at_end(),
        tail=progress.tail,
        stats=progress.stats,
        no_hosts=progress.no_hosts,
    )
    code, reason = cause(end, seen)
    reason = " ".join([*progress.findings, reason])
    notes = _notes(progress, end)
    rest = progress.roles[max(progress.index, 0) :]
    changes: list[Change] = [Logged(role=rest[0], text=progress.early)] if progress.early else []
    if code:
        return (*changes, _failed(rest[0], code, reason, [*progress.tally.notes_on_failure(), *notes]))
    if progress.reached:
        changes.append(_ended(progress, notes))
        rest = rest[1:]
    if rest:
        after = f"; neither was {', '.join(rest[1:])}" if rest[1:] else ""
        reason = f"This role was never run, although Ansible ended well{after}: was the play or the host ended early?"
        changes.append(_failed(rest[0], "INCONSISTENT", reason, notes))
    return tuple(changes)


def _failed(role: str, code: Code, reason: str, notes: Sequence[str]) -> Ended:
    return Ended(role=role, verdict=Verdict.FAILED, code=code, message=" ".join([reason, *notes]))


def _ended(progress: Progress, notes: Sequence[str] = ()) -> Ended:
    """Return the end of a role after which the run continues."""
    if progress.findings:
        return _failed(progress.roles[progress.index], "FINDINGS", " ".join(progress.findings), notes)
    return _passed(progress, notes)


def _passed(progress: Progress, notes: Sequence[str] = ()) -> Ended:
    absent = "No Ansible task of its own ran." if progress.complete else "No event of it has arrived."
    sentences = [str(progress.tally), "" if progress.reached else absent, *progress.unchecked, *notes]
    message = " ".join(filter(None, sentences))
    return Ended(role=progress.roles[progress.index], verdict=Verdict.SUCCESSFUL, code="", message=message)


def _notes(progress: Progress, end: RunEnd) -> list[str]:
    notes = []
    if not end.tree_gone and not end.canceled:
        notes.append("Processes of the run are still alive.")
    if not (progress.complete and end.events_complete):
        notes.append("Events of this run were lost: its log has gaps.")
    return notes


def _data(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return ansible_results.mapping(event.get("event_data"))


def _uuid(data: Mapping[str, Any]) -> str:
    """Return the id of the Ansible task of an event."""
    return ansible_results.clean(data.get("task_uuid"), 100)


def _security_note(event: Mapping[str, Any]) -> list[str]:
    kind = event.get("event")
    if kind == "verbose":
        return []  # text not printed by Ansible's callback, for example by ssh
    return [
        f"[security: not written by Ansible, so taken as text only: {ansible_results.clean(kind, 40) or 'an event'}]"
    ]


def _move(progress: Progress, event: Mapping[str, Any]) -> tuple[Progress, list[Change]]:
    """Enter the first role when the playbook starts; advance to the role of the event if it is a later one."""
    moves: list[Change] = []
    if progress.index < 0 and ansible_results.clean(event.get("event")).startswith(("playbook_on_", "runner_")):
        progress = _enter(progress, 0, moves)
    data = _data(event)
    subtask = ansible_results.subtask(data)
    is_known = subtask in progress.roles or (subtask and "subtask" in data)
    is_ours = is_known and data.get("host", progress.host) == progress.host
    if progress.index < 0 or not is_ours or _is_handler(progress, data) or progress.failures.are_final:
        return progress, moves
    target = _target(progress, subtask)
    while progress.index < target:
        moves.append(_ended(progress))
        progress = _enter(progress, progress.index + 1, moves)
    reached = progress.reached or progress.role == subtask
    return replace(progress, reached=reached), moves


def _target(progress: Progress, subtask: str) -> int:
    """Return the index of the role to enter when an Ansible task of `subtask` runs.

    A subtask that is not selected runs between two that are, so it ends the role before it.
    """
    if subtask in progress.roles:
        return progress.roles.index(subtask)
    return min(progress.index + progress.reached, len(progress.roles) - 1)


def _settle(progress: Progress, event: Mapping[str, Any]) -> Progress:
    """Return the progress with the failures that are still pending when the Ansible task of this event runs."""
    data = _data(event)
    runs = event.get("event") in ("playbook_on_task_start", "runner_on_start", *RESULTS)
    if not runs or data.get("host", progress.host) != progress.host:
        return progress
    settled = progress.failures.after(
        parse_blocks(data.get("blocks")),
        task=_uuid(data),
        is_handler=_is_handler(progress, data),
    )
    return replace(progress, failures=settled)


def _is_handler(progress: Progress, data: Mapping[str, Any]) -> bool:
    """Return whether the event is of a handler, which can run after its role has ended or before it starts."""
    return data.get("is_conditional") is True or _uuid(data) in progress.handlers


def _enter(progress: Progress, index: int, moves: list[Change]) -> Progress:
    role = progress.roles[index]
    moves.append(Started(role=role))
    if progress.early:
        moves.append(Logged(role=role, text=progress.early))
    logged = len(progress.early)
    failures = replace(progress.failures, last=None)
    progress = replace(progress, index=index, reached=False, tally=ansible_results.EMPTY_TALLY, failures=failures)
    return replace(progress, logged=logged, changed=0, early="", findings=(), unchecked=())


def _take(progress: Progress, event: Mapping[str, Any]) -> Progress:
    """Return the progress with everything else in the event: task, handlers, items, results and statistics."""
    data = _data(event)
    match event.get("event"):
        case "playbook_on_task_start":
            return _take_task(progress, data)
        case "playbook_on_no_hosts_matched":
            return replace(progress, no_hosts=True)
        case "playbook_on_stats":
            return replace(progress, task="", stats=_stats(data))
        case "runner_item_on_failed" if data.get("host") == progress.host:
            return replace(progress, items=(*progress.items, ansible_results.item_message(event))[:MAX_ITEMS])
        case kind if kind in RESULTS:
            return _take_result(progress, event) if data.get("host") == progress.host else progress
    return progress


def _take_task(progress: Progress, data: Mapping[str, Any]) -> Progress:
    progress = replace(progress, task=ansible_results.clean(data.get("name"), 200), items=())
    uuid = _uuid(data)
    is_handler = uuid and data.get("is_conditional") is True
    return replace(progress, handlers=progress.handlers | {uuid}) if is_handler else progress


def _stats(data: Mapping[str, Any]) -> Stats | None:
    processed, failures, dark = (data.get(key) for key in ("processed", "failures", "dark"))
    if not all(isinstance(part, Mapping) for part in (processed, failures, dark)):
        return None
    return Stats(processed=_counted(processed), failures=_counted(failures), dark=_counted(dark))


def _counted(counts: Any) -> frozenset[str]:
    return frozenset(host for host, count in counts.items() if isinstance(host, str) and count)


def _take_result(progress: Progress, event: Mapping[str, Any]) -> Progress:
    data = _data(event)
    progress = replace(progress, tally=progress.tally.add(event))
    if progress.check and ansible_results.has_findings(event):
        found = ansible_results.finding_message(event)
        progress = replace(progress, findings=(*progress.findings, found)[:MAX_ITEMS])
    if progress.check and (unchecked := ansible_results.unchecked_message(event)):
        progress = replace(progress, unchecked=(*progress.unchecked, unchecked)[:MAX_ITEMS])
    if data.get("ignore_errors") is True or event.get("event") not in ("runner_on_failed", "runner_on_unreachable"):
        return progress
    code: FailureCode = "BAD_ARGUMENTS" if ansible_results.has_wrong_arguments(data) else "TASK_FAILED"
    if event.get("event") == "runner_on_unreachable":
        code = "UNREACHABLE"
    failure = Failure(
        code=code,
        message=ansible_results.failure_message(event, progress.items),
        task=_uuid(data),
        blocks=parse_blocks(data.get("blocks")),
    )
    return replace(progress, failures=progress.failures.add(failure))


def _server_facts(progress: Progress, event: Mapping[str, Any]) -> tuple[list[ServerFacts], list[str]]:
    if event.get("event") != "runner_on_ok" or _data(event).get("host") != progress.host or progress.role is None:
        return [], []
    values, invalid = server_facts.validated(event)
    notes = [f"[obproxy_server: {', '.join(invalid[:20])} ignored: unknown or invalid]"] if invalid else []
    return [ServerFacts(role=progress.role, values=values)] if values else [], notes


def _changes(progress: Progress, event: Mapping[str, Any]) -> tuple[Progress, list[Changed], list[str]]:
    if _data(event).get("host") != progress.host or progress.role is None:
        return progress, [], []
    made, left_out = host_changes.validated(event, host_changes.MAX_CHANGES - progress.changed)
    if not made:
        return progress, [], left_out
    progress = replace(progress, changed=progress.changed + len(made))
    return progress, [Changed(role=progress.roles[progress.index], changes=made)], left_out


def _log(progress: Progress, event: Mapping[str, Any], notes: Sequence[str]) -> tuple[Progress, list[Logged]]:
    text = "\n".join(filter(None, [*notes, ansible_results.printed_text(event)]))
    if not text:
        return progress, []
    tail = f"{progress.tail}\n{text}"[-QUOTE_LIMIT:]
    if progress.role is None:
        early = "\n".join(filter(None, [progress.early, text]))
        return replace(progress, tail=tail, early=early[:EVENT_LIMIT]), []
    room = min(EVENT_LIMIT, ROLE_LIMIT - progress.logged)
    progress = replace(progress, tail=tail, logged=progress.logged + min(len(text), room))
    if len(text) > room:
        note = [f"[cut: {len(text) - room} characters more]"] if room else []
        is_failure = event.get("event") in ("runner_on_failed", "runner_on_unreachable")
        text = "\n".join(
            filter(None, [text[:room], *note, ansible_results.essential_lines(event) if is_failure else ""])
        )
    return progress, [Logged(role=progress.roles[progress.index], text=text)] if text else []
