"""The outcome of a subtask: the order of docs/reference/event-streams.md D.0, and the text of each code."""

from dataclasses import replace
from typing import get_args

import pytest

from service.outcome.failures import NO_FAILURES, Failure, Failures
from service.outcome.verdict import Code, Evidence, RunEnd, Stats, cause

HOST = frozenset({"h1"})
NONE: frozenset[str] = frozenset()
GOOD = Stats(processed=HOST, failures=NONE, dark=NONE)
FAILED = replace(GOOD, failures=HOST)
DARK = replace(GOOD, dark=HOST)
OTHER = replace(GOOD, failures=frozenset({"h1", "h2"}))
BOTH = replace(GOOD, failures=HOST, dark=HOST)
SEEN = Evidence(host="h1", started=True, task="Try", failures=NO_FAILURES, tail="", stats=GOOD, no_hosts=False)
WELL = RunEnd(rc=0, status="successful")
BADLY = RunEnd(rc=2, status="failed")
LOST = RunEnd(rc=None, status=None)
BOOM = NO_FAILURES.add(Failure(code="TASK_FAILED", message="boom"))
WRONG = NO_FAILURES.add(Failure(code="BAD_ARGUMENTS", message="port is missing"))
AWAY = NO_FAILURES.add(Failure(code="UNREACHABLE", message="Connection refused"))
RESCUED = Failures(rescued=True, last=BOOM.last)

TABLE: list[tuple[str, RunEnd, Evidence, Code]] = [
    ("all is well", WELL, SEEN, ""),
    ("no status, but an exit", replace(WELL, status=None), SEEN, ""),
    # 1 cancel
    ("canceled", replace(BADLY, canceled=True), SEEN, "CANCELED"),
    ("canceled by the runner's word", RunEnd(rc=254, status="canceled"), SEEN, "CANCELED"),
    ("canceled, killed", replace(LOST, canceled=True), SEEN, "CANCELED"),
    ("canceled before it started", replace(LOST, canceled=True), replace(SEEN, started=False), "CANCELED"),
    ("canceled after a failure", replace(BADLY, canceled=True), replace(SEEN, stats=FAILED, failures=BOOM), "CANCELED"),
    ("canceled and timed out", replace(BADLY, canceled=True, timed_out=True), SEEN, "CANCELED"),
    ("canceled too late", replace(WELL, canceled=True), SEEN, ""),
    ("canceled, something lives", replace(BADLY, canceled=True, tree_gone=False), SEEN, "CANCEL_INCOMPLETE"),
    ("canceled too late, something lives", replace(WELL, canceled=True, tree_gone=False), SEEN, "CANCEL_INCOMPLETE"),
    # 2 deadline
    ("timed out", replace(BADLY, timed_out=True), SEEN, "TIMEOUT"),
    ("timed out by the runner's word", RunEnd(rc=254, status="timeout"), SEEN, "TIMEOUT"),
    ("timed out, killed", replace(LOST, timed_out=True), SEEN, "TIMEOUT"),
    ("timed out before it started", replace(LOST, timed_out=True), replace(SEEN, started=False), "TIMEOUT"),
    # 3 no terminal record
    ("lost", LOST, SEEN, "INTERRUPTED"),
    ("lost before its status", replace(LOST, status=""), SEEN, "INTERRUPTED"),
    ("lost before its process started", replace(LOST, status="unstarted"), SEEN, "INTERRUPTED"),
    ("lost at its start", replace(LOST, status="starting"), SEEN, "INTERRUPTED"),
    ("lost while running", replace(LOST, status="running"), SEEN, "INTERRUPTED"),
    ("lost before it started", LOST, replace(SEEN, started=False), "INTERRUPTED"),
    # 4 no start
    ("never started", RunEnd(rc=4, status="failed"), replace(SEEN, started=False, stats=None), "NOT_STARTED"),
    ("could not be started", replace(LOST, start_error="no space left"), SEEN, "NOT_STARTED"),
    ("never started, though well", WELL, replace(SEEN, started=False, stats=None), "NOT_STARTED"),
    # 5 rc
    ("failed", BADLY, replace(SEEN, stats=FAILED, failures=BOOM), "TASK_FAILED"),
    ("failed, then unreachable", BADLY, replace(SEEN, stats=BOTH, failures=AWAY), "TASK_FAILED"),
    ("failed, its result lost", BADLY, replace(SEEN, stats=FAILED), "TASK_FAILED"),
    ("bad arguments", BADLY, replace(SEEN, stats=FAILED, failures=WRONG), "BAD_ARGUMENTS"),
    ("unreachable", RunEnd(rc=4, status="failed"), replace(SEEN, stats=DARK, failures=AWAY), "UNREACHABLE"),
    ("killed", RunEnd(rc=None, status="failed"), replace(SEEN, stats=None), "ABORTED"),
    ("killed after stats", RunEnd(rc=None, status="failed"), SEEN, "ABORTED"),
    ("interrupted by SIGINT", RunEnd(rc=99, status="failed"), replace(SEEN, stats=None), "ABORTED"),
    ("failed for no reason", RunEnd(rc=1, status="failed"), SEEN, "ABORTED"),
    # 6 rc 0, and yet
    ("no hosts", WELL, replace(SEEN, stats=None, no_hosts=True), "NO_HOSTS"),
    ("no stats", WELL, replace(SEEN, stats=None), "INCONSISTENT"),
    ("failures", WELL, replace(SEEN, stats=FAILED), "INCONSISTENT"),
    ("all failures rescued", WELL, replace(SEEN, stats=FAILED, failures=RESCUED), ""),
    (
        "passed over",
        WELL,
        replace(SEEN, stats=FAILED, failures=replace(RESCUED, unexplained=BOOM.last)),
        "INCONSISTENT",
    ),
    ("pending", WELL, replace(SEEN, stats=FAILED, failures=replace(RESCUED, pending=BOOM.pending)), "INCONSISTENT"),
    ("rescued, and yet dark", WELL, replace(SEEN, stats=BOTH, failures=RESCUED), "INCONSISTENT"),
    ("rescued, but another host", WELL, replace(SEEN, stats=OTHER, failures=RESCUED), "INCONSISTENT"),
    ("dark", WELL, replace(SEEN, stats=DARK), "INCONSISTENT"),
    ("host missing", WELL, replace(SEEN, stats=replace(GOOD, processed=frozenset({"h2"}))), "HOST_MISSING"),
]


@pytest.mark.parametrize(("end", "seen", "code"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_verdict(end: RunEnd, seen: Evidence, code: Code) -> None:
    found, reason = cause(end, seen)
    assert found == code
    assert bool(reason) == bool(code)


def test_the_table_reaches_every_code() -> None:
    during_the_run = {"FINDINGS"}
    assert {row[3] for row in TABLE} == set(get_args(Code)) - during_the_run


DURING = ' during Ansible task "Try"'
PROMPT = " It seems to wait for input at a prompt: see the last line of the log."


@pytest.mark.parametrize(
    ("end", "seen", "text"),
    [
        (BADLY, replace(SEEN, stats=FAILED, failures=BOOM), "boom"),
        (BADLY, replace(SEEN, stats=FAILED, failures=replace(BOOM, last=AWAY.last)), "boom"),
        (
            BADLY,
            replace(SEEN, stats=FAILED, tail="fatal: something"),
            "The failed result was lost. Its last output: fatal: something",
        ),
        (BADLY, replace(SEEN, stats=FAILED), "The failed result was lost."),
        (replace(LOST, start_error="no space left"), SEEN, "no space left"),
        (
            RunEnd(rc=4, status="failed", last_lines="\x1b[31mERROR!\x1b[0m"),
            replace(SEEN, started=False),
            "Ansible did not start the playbook (exit status 4). Its last output: ERROR!",
        ),
        (
            RunEnd(rc=1, status="failed", last_lines="raw"),
            replace(SEEN, tail="cleaned"),
            "Ansible failed (exit status 1) although no Ansible task did. Its last output: cleaned",
        ),
        (
            replace(BADLY, timed_out=True, limit=30, elapsed=30.6),
            SEEN,
            f"Stopped after 31 s{DURING}. The limit is 30 s.",
        ),
        (replace(BADLY, timed_out=True), SEEN, f"Stopped{DURING}."),
        (replace(BADLY, timed_out=True), replace(SEEN, task=""), "Stopped."),
        (replace(BADLY, canceled=True), SEEN, f"Canceled{DURING}."),
        (replace(BADLY, canceled=True), replace(SEEN, task=""), "Canceled."),
        (
            RunEnd(rc=None, status="failed"),
            replace(SEEN, stats=None),
            f"Ansible ended{DURING} before the playbook was through (killed).",
        ),
        (
            WELL,
            replace(SEEN, stats=OTHER, failures=BOOM),
            "Ansible ended well, yet counts a failure on h1, h2. boom",
        ),
        (WELL, replace(SEEN, stats=FAILED), "Ansible ended well, yet counts a failure on h1."),
    ],
)
def test_reason(end: RunEnd, seen: Evidence, text: str) -> None:
    assert cause(end, seen)[1] == text


@pytest.mark.parametrize(
    ("tail", "last_lines", "hint"),
    [
        ("", "[sudo] password for ops: ", PROMPT),
        ("continue connecting (yes/no)?", "", PROMPT),
        ("Password:", "", PROMPT),
        ("set the password: done", "", ""),
        ("password: " + 200 * " ", "", ""),
    ],
)
def test_a_timeout_at_a_prompt_has_a_hint(tail: str, last_lines: str, hint: str) -> None:
    end = replace(BADLY, timed_out=True, last_lines=last_lines)

    assert cause(end, replace(SEEN, tail=tail))[1] == f"Stopped{DURING}.{hint}"


def test_many_host_names_and_a_long_output_are_cut() -> None:
    many = frozenset(f"host-{number}" for number in range(1000))
    quoted = RunEnd(rc=4, status="failed", last_lines="first line" + 1500 * "x")

    counted = cause(WELL, replace(SEEN, stats=replace(GOOD, failures=many)))[1]
    output = cause(quoted, replace(SEEN, started=False))[1]

    assert len(counted) < 300
    assert "first line" not in output
