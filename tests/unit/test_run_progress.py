"""The evaluation of a run's events, one behaviour at a time."""

from dataclasses import replace
from typing import Any

import pytest

from service.outcome import ansible_results, run_progress
from service.outcome.run_progress import (
    Change,
    Ended,
    Logged,
    Progress,
    RunEnd,
    ServerFacts,
    Started,
    advance,
    begin,
    finish,
)
from tests.unit.streams.record import JOB_ID
from tests.unit.streams.replay import load

WELL = RunEnd(rc=0, status="successful")
NEVER_RUN = "This role was never run, although Ansible ended well{}: was the play or the host ended early?"


def event(kind: str, stdout: str = "", **data: Any) -> dict[str, Any]:
    return {"event": kind, "stdout": stdout, "event_data": data}


def started(*roles: str) -> Progress:
    progress, _ = advance(begin(roles or ("first", "second"), "h1"), event("playbook_on_start"))
    return progress


def take(progress: Progress, *more: dict[str, Any]) -> tuple[Progress, list[Change]]:
    changes: list[Change] = []
    for each in more:
        progress, new = advance(progress, each)
        changes += new
    return progress, changes


def stats(**other: Any) -> dict[str, Any]:
    return event("playbook_on_stats", **{"processed": {"h1": 1}, "failures": {}, "dark": {}, **other})


def failed(stdout: str = "", **res: Any) -> dict[str, Any]:
    return event("runner_on_failed", stdout, host="h1", role="first", task="Try", res=res)


@pytest.mark.parametrize("roles", [[], ["same", "same"]])
def test_a_run_needs_roles_each_once(roles: list[str]) -> None:
    with pytest.raises(ValueError, match="needs roles"):
        begin(roles, "h1")


def test_the_first_role_starts_with_the_playbook_and_gets_earlier_output() -> None:
    progress = begin(["first", "second"], "h1")
    assert progress.role is None
    progress, changes = take(progress, event("verbose", "[WARNING]: old\r\n"), event("playbook_on_start"))
    assert changes == [Started(role="first"), Logged(role="first", text="[WARNING]: old")]
    assert progress.role == "first"
    _, changes = take(progress, event("playbook_on_task_start", role="second"))
    assert [type(change) for change in changes] == [Ended, Started]


def test_any_event_of_the_playbook_starts_the_first_role_when_its_start_was_lost() -> None:
    _, changes = take(begin(["first"], "h1"), event("runner_on_ok", host="h1"))
    assert changes == [Started(role="first")]


def test_output_without_a_started_role_is_logged_at_the_end() -> None:
    progress, _ = take(begin(["first", "second"], "h1"), event("verbose", "[ERROR]: no such file"))
    logged, ended = finish(progress, RunEnd(rc=4, status="failed", last_lines="other"))
    assert logged == Logged(role="first", text="[ERROR]: no such file")
    assert isinstance(ended, Ended)
    assert (ended.role, ended.code) == ("first", "NOT_STARTED")
    assert "[ERROR]: no such file" in ended.message


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (RunEnd(rc=4, status="failed"), "Ansible did not start the playbook (exit status 4)."),
        (RunEnd(rc=None, status=None), "The run was lost: its process is gone and left no exit status."),
        (
            RunEnd(rc=None, status="canceled", tree_gone=False),
            "Canceled, but processes of the run are still alive.",
        ),
        (
            RunEnd(rc=4, status="failed", tree_gone=False, events_complete=False),
            "Ansible did not start the playbook (exit status 4). Processes of the run are still alive. "
            "Events of this run were lost: its log has gaps.",
        ),
    ],
)
def test_a_run_without_events_is_reported_for_the_first_role(end: RunEnd, message: str) -> None:
    (ended,) = finish(begin(["first", "second"], "h1"), replace(end, canceled=end.status == "canceled"))
    assert isinstance(ended, Ended) and (ended.role, ended.message) == ("first", message)


def test_a_role_that_is_behind_gets_nothing_more() -> None:
    progress, _ = take(started(), event("playbook_on_task_start", role="second"))
    _, changes = take(progress, event("playbook_on_task_start", "HANDLER", role="first", is_conditional=True))
    assert changes == [Logged(role="second", text="HANDLER")]


def test_results_of_another_host_show_no_progress_and_are_no_failure_of_ours() -> None:
    progress, changes = take(
        started(), event("runner_on_failed", "boom", host="h2", role="second", res={"msg": "boom"})
    )
    assert changes == [Logged(role="first", text="boom")]
    assert not progress.failures.pending


def test_a_repeated_event_is_dropped_and_a_missing_one_noted() -> None:
    first, third = ({**event("verbose", f"line {n}"), "counter": n} for n in (1, 3))
    progress, _ = take(begin(["first"], "h1"), {**event("playbook_on_start"), "counter": 1})
    assert take(progress, first) == (progress, [])
    progress, changes = take(progress, third)
    assert changes == [Logged(role="first", text="[events of this run were lost here]\nline 3")]
    assert not progress.complete
    assert take(progress, third) == (progress, [])


def test_events_in_order_are_complete() -> None:
    numbered = [{**event("playbook_on_start" if n == 1 else "verbose"), "counter": n} for n in range(1, 5)]
    assert take(begin(["first"], "h1"), *numbered)[0].complete


def test_a_gap_is_reported_but_keeps_the_verdict() -> None:
    progress, _ = take(started("first"), event("runner_on_ok", host="h1", role="first"), stats())
    (ended,) = finish(progress, RunEnd(rc=0, status="successful", events_complete=False))
    assert isinstance(ended, Ended)
    assert ended.code == ""
    assert "Events of this run were lost" in ended.message


@pytest.mark.parametrize("kind", ["runner_on_failed", "runner_on_unreachable"])
def test_the_log_of_an_event_keeps_its_rc_and_msg(kind: str) -> None:
    _, (logged,) = take(started(), {**failed("x" * 20_000, rc=7, msg="the reason"), "event": kind})
    assert isinstance(logged, Logged)
    assert logged.text == f"{'x' * 16_384}\n[cut: 3616 characters more]\nrc: 7\nmsg: the reason"


def test_the_log_of_a_role_is_cut_but_for_failures() -> None:
    lines = [event("verbose", "y" * 16_384)] * 64
    progress, changes = take(started(), *lines, event("verbose", "more"))
    assert sum(len(change.text) for change in changes if isinstance(change, Logged)) == 1_048_576
    progress, changes = take(progress, failed("the reason at length", msg="the reason"))
    assert changes == [Logged(role="first", text="msg: the reason")]
    _, changes = take(progress, event("playbook_on_task_start", "a fresh log", role="second"))
    assert changes[-1] == Logged(role="second", text="a fresh log")


def test_one_huge_event_does_not_use_up_the_log_of_its_role() -> None:
    progress, _ = take(started(), event("verbose", "x" * 1_048_577))
    _, changes = take(progress, event("verbose", "and on"))
    assert changes == [Logged(role="first", text="and on")]


def test_the_role_that_exceeds_the_limit_reports_it_once() -> None:
    progress, _ = take(started(), *[event("verbose", "y" * 16_384)] * 63, event("verbose", "z" * 16_000))
    _, changes = take(progress, event("verbose", "w" * 1_000), event("verbose", "never"))
    assert changes == [Logged(role="first", text=f"{'w' * 384}\n[cut: 616 characters more]")]


def test_the_output_before_the_playbook_is_cut() -> None:
    progress, _ = take(begin(["first"], "h1"), *[event("verbose", "x" * 10_000)] * 2)
    _, changes = take(progress, event("playbook_on_start"))
    assert changes == [Started(role="first"), Logged(role="first", text=f"{'x' * 10_000}\n{'x' * 6_383}")]


def test_a_failed_loop_names_ten_items_and_the_next_loop_its_own() -> None:
    items = [
        event("runner_item_on_failed", host="h1", res={"msg": "bad", "_ansible_item_label": f"item{number}"})
        for number in range(12)
    ]
    other = event("runner_item_on_failed", host="h2", res={"msg": "of another host"})

    progress, _ = take(started(), other, *items, failed(msg="One or more items failed"))

    (failure,) = progress.failures.pending
    named = " ".join(f"item{number}: bad" for number in range(10))
    assert failure.message.startswith(f"One or more items failed {named} (")
    progress, _ = take(progress, event("playbook_on_task_start", name="Next"))
    assert progress.items == ()


def test_twenty_invalid_facts_are_named() -> None:
    facts = {f"fact{number}": 1 for number in range(25)}
    _, changes = take(started(), event("runner_on_ok", host="h1", role="first", res={"obproxy_server": facts}))
    named = ", ".join(f"fact{number}" for number in range(20))
    assert changes == [Logged(role="first", text=f"[obproxy_server: {named} ignored: unknown or invalid]")]


def test_the_name_of_an_ansible_task_is_cut() -> None:
    progress, _ = take(started(), event("playbook_on_task_start", name="n" * 201))
    assert progress.task == "n" * 200


def test_unsigned_events_are_text_only() -> None:
    progress = begin(["first", "second"], "h1", token=JOB_ID)
    progress, _ = take(progress, {**event("playbook_on_start"), "job_id": JOB_ID})
    for job_id in (None, 1, str(JOB_ID), True, [JOB_ID]):
        forged = {**event("runner_on_ok", "all fine", host="h1", role="second"), "job_id": job_id}
        after, changes = take(progress, forged)
        note = "[security: not written by Ansible, so taken as text only: runner_on_ok]"
        assert changes == [Logged(role="first", text=f"{note}\nall fine")]
        assert after.role == "first"
    _, changes = take(progress, {"event": "verbose", "stdout": "ssh says hello"})
    assert changes == [Logged(role="first", text="ssh says hello")]
    numbered, _ = take(progress, {**event("verbose"), "job_id": JOB_ID, "counter": 1})
    _, changes = take(numbered, {**event("runner_on_ok"), "counter": 3})
    lost = "[events of this run were lost here]"
    assert changes == [Logged(role="first", text=f"{lost}\n{note}")]


@pytest.mark.parametrize(("kind", "named"), [("k" * 50, "k" * 40), (None, "an event"), ([], "an event")])
def test_the_name_of_an_unsigned_event_is_cut(kind: Any, named: str) -> None:
    progress, _ = take(begin(["first"], "h1", token=JOB_ID), event(kind))
    assert progress.early == f"[security: not written by Ansible, so taken as text only: {named}]"


@pytest.mark.parametrize("name", ["1", "2", "60", "learned"])
def test_an_unsigned_stream_starts_nothing(name: str) -> None:
    stream = load(name)
    progress, changes = take(begin(stream.roles, stream.host, token=JOB_ID + 1), *stream.events)
    assert changes == []
    assert progress.role is None
    *_, ended = finish(progress, stream.end)
    assert isinstance(ended, Ended)
    assert ended.code == "NOT_STARTED"


def test_facts_of_an_ok_result_on_the_host_are_stored() -> None:
    told = {"obproxy_server": {"pid": 1, "home": "relative"}}
    progress, changes = take(started(), event("runner_on_ok", host="h1", role="first", res=told))
    note = "[obproxy_server: home ignored: unknown or invalid]"
    assert changes == [Logged(role="first", text=note), ServerFacts(role="first", values={"pid": 1})]
    others = [
        event("runner_on_failed", host="h1", role="first", res=told),
        event("runner_on_ok", host="h2", role="first", res=told),
        event("runner_item_on_ok", host="h1", role="first", res=told),
    ]
    for other in others:
        assert take(progress, other)[1] == []


def test_of_two_failures_the_last_unignored_one_is_reported() -> None:
    ignored = event("runner_on_failed", host="h1", ignore_errors=True, res={"msg": "ignored"})
    progress, _ = take(started(), failed(msg="one"), failed(msg="two"), ignored, stats(failures={"h1": 1}))
    (ended,) = finish(progress, RunEnd(rc=2, status="failed"))
    assert ended == Ended(
        role="first",
        verdict=run_progress.Verdict.FAILED,
        code="TASK_FAILED",
        message='two (Ansible task "Try", role first, host h1)',
    )


def test_a_failure_of_an_earlier_role_is_not_reported_for_the_next() -> None:
    progress, _ = take(started(), failed(msg="rescued"), event("playbook_on_task_start", role="second"))
    progress, _ = take(progress, event("verbose", "what there is"), stats(failures={"h1": 1}))
    (ended,) = finish(progress, RunEnd(rc=2, status="failed"))
    assert isinstance(ended, Ended)
    assert "rescued" not in ended.message
    assert "what there is" in ended.message


@pytest.mark.parametrize(("roles", "others"), [("ab", ""), ("abc", "; neither was c"), ("abcd", "; neither was c, d")])
def test_roles_that_were_never_reached_are_left_alone_but_for_the_first(roles: str, others: str) -> None:
    progress, _ = take(started(*roles), event("runner_on_ok", host="h1", role="a"), stats())
    passed, never = finish(progress, replace(WELL, events_complete=False))
    assert isinstance(passed, Ended)
    assert isinstance(never, Ended)
    gaps = "Events of this run were lost: its log has gaps."
    assert (passed.role, passed.code, passed.message) == ("a", "", f"Ansible tasks: 1 ok. {gaps}")
    assert (never.role, never.code, never.message) == ("b", "INCONSISTENT", f"{NEVER_RUN.format(others)} {gaps}")


def test_a_run_that_reached_no_role_has_not_ended_well() -> None:
    (last,) = finish(started("a"), WELL)
    assert isinstance(last, Ended) and last.code == "INCONSISTENT"


def test_a_role_without_events_is_passed_with_a_note() -> None:
    ran = event("runner_on_ok", host="h1", role="a", res={"changed": True})
    progress, _ = take(started("a", "b", "c", "d"), ran)
    progress, changes = take(progress, event("playbook_on_task_start", role="c"))
    notes = [change.message for change in changes if isinstance(change, Ended)]
    assert notes == ["Ansible tasks: 1 ok, 1 changed.", "No Ansible task of its own ran."]
    assert changes[-1] == Started(role="c")

    skipped = event("runner_on_skipped", host="h1", role="c")
    _, changes = take(progress, skipped, event("playbook_on_task_start", role="d"))
    assert isinstance(changes[0], Ended)
    assert changes[0].message == "Nothing was done: all Ansible tasks were skipped."


def test_a_role_whose_events_were_lost_is_passed_with_a_note() -> None:
    lost = {**event("playbook_on_task_start", role="second"), "counter": 2}
    _, changes = take(started(), lost)
    assert [change.message for change in changes if isinstance(change, Ended)] == ["No event of it has arrived."]


def test_a_subtask_that_is_not_selected_ends_the_role_before_it() -> None:
    other, ours = (event("playbook_on_task_start", subtask=name, role=name) for name in ("other", "first"))
    assert take(started(), other)[1] == [], "the first role has not run yet"
    progress, _ = take(started(), ours)
    for helper in ({"role": "other"}, {"subtask": "", "role": "other"}, {"subtask": "other", "host": "h2"}):
        assert take(progress, event("runner_on_start", **helper)) == (progress, []), "no subtask of this host"

    progress, changes = take(progress, other)
    assert [type(change) for change in changes] == [Ended, Started] and progress.role == "second"
    assert take(progress, other) == (progress, []), "the second role has not run yet"
    progress, _ = take(progress, event("playbook_on_task_start", subtask="second"))
    assert take(progress, other)[1] == [], "it is the last role"


@pytest.mark.parametrize(
    "kind", ["playbook_on_task_start", "runner_on_start", "runner_on_ok", "runner_on_skipped", "runner_on_failed"]
)
def test_a_failure_is_not_final_when_a_later_ansible_task_runs(kind: str) -> None:
    progress, _ = take(started(), failed(msg="rescued"), event("verbose", host="h1", role="second"))
    assert progress.role == "first"
    other, _ = take(progress, event(kind, host="h2", role="second"))
    assert (other.role, other.failures) == ("first", progress.failures)
    assert take(progress, event(kind, host="h1", role="second"))[0].role == "second"


def test_a_failure_in_a_block_is_rescued_by_its_rescue_section() -> None:
    failure = event("runner_on_failed", host="h1", role="first", blocks=["b block"], res={"msg": "boom"})
    rescue = event("runner_on_ok", host="h1", role="first", blocks=["b rescue"])
    for events, code in (([failure, rescue], ""), ([failure], "INCONSISTENT")):
        progress, _ = take(started("first"), *events, stats(failures={"h1": 1}))
        (ended,) = finish(progress, WELL)
        assert isinstance(ended, Ended) and ended.code == code


@pytest.mark.parametrize("marked", [{"is_conditional": True}, {}])
def test_a_handler_after_a_failure_leaves_it_final_and_starts_no_role(marked: dict[str, Any]) -> None:
    """Only the start of a handler is marked; its other events have its uuid."""
    start = event("playbook_on_task_start", task_uuid="handler", is_conditional=True)
    result = event("runner_on_ok", host="h1", role="second", task_uuid="handler", **marked)
    assert take(started(), start, result)[0].role == "first"
    progress, _ = take(started(), failed(msg="boom"), start, result)
    assert progress.role == "first" and progress.failures.are_final
    progress, _ = take(started(), {**start, "event_data": start["event_data"] | {"is_conditional": "yes"}}, result)
    assert progress.role == ("first" if marked else "second")


@pytest.mark.parametrize(
    ("kind", "res", "counts", "code"),
    [
        ("runner_on_failed", {}, {"failures": {"h1": 1}}, "TASK_FAILED"),
        ("runner_on_failed", {"argument_errors": []}, {"failures": {"h1": 1}}, "BAD_ARGUMENTS"),
        ("runner_on_unreachable", {}, {"dark": {"h1": 1}}, "UNREACHABLE"),
    ],
)
def test_a_failure_has_its_code_and_message(
    kind: str, res: dict[str, Any], counts: dict[str, dict[str, int]], code: str
) -> None:
    failure = event(kind, host="h1", role="first", task="Try", res={"msg": "boom", **res})
    progress, _ = take(started(), failure)
    assert [one.code for one in progress.failures.pending] == [code]
    (ended,) = finish(take(progress, stats(**counts))[0], RunEnd(rc=2, status="failed"))
    assert isinstance(ended, Ended)
    assert (ended.code, ended.message) == (code, 'boom (Ansible task "Try", role first, host h1)')


def test_a_play_without_hosts_fails() -> None:
    progress, _ = take(started("first"), event("playbook_on_no_hosts_matched"), stats(processed={}))
    (ended,) = finish(progress, WELL)
    assert isinstance(ended, Ended)
    assert (ended.code, ended.message) == ("NO_HOSTS", "The play matched no host, and should have matched h1.")


def test_events_of_the_failed_ansible_task_itself_keep_the_failure() -> None:
    name = "u" * 150
    failure = event("runner_on_failed", host="h1", role="first", task_uuid=name, res={"msg": "boom"})
    progress, _ = take(started(), failure, event("runner_on_start", host="h1", role="first", task_uuid=name))
    (pending,) = progress.failures.pending
    assert pending.task == "u" * 100


def test_a_handler_without_uuid_hides_no_progress() -> None:
    handler = event("playbook_on_task_start", role="first", is_conditional=True)
    progress, _ = take(started(), handler, event("runner_on_ok", host="h1", role="second"))
    assert progress.role == "second"


def test_a_host_counted_with_zero_is_not_counted() -> None:
    progress, _ = take(started("first"), event("runner_on_ok", host="h1", role="first"), stats(failures={"h1": 0}))
    (ended,) = finish(progress, WELL)
    assert isinstance(ended, Ended)
    assert ended.code == ""


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"failures": {"h1": 1}}, "Ansible ended well, yet counts a failure on h1."),
        ({"dark": {"h1": 1}}, "Ansible ended well, yet counts a failure on h1."),
        ({"processed": {}}, "Ansible ended well without having done anything on h1."),
        *(({part: []}, "Ansible ended well without closing statistics.") for part in ("processed", "failures", "dark")),
    ],
)
def test_the_statistics_of_a_run_that_ends_well_are_checked(counts: dict[str, Any], message: str) -> None:
    progress, _ = take(started("first"), event("runner_on_ok", host="h1", role="first"), stats(**counts))
    (ended,) = finish(progress, WELL)
    assert isinstance(ended, Ended) and ended.message == message


def test_after_the_statistics_no_ansible_task_runs() -> None:
    progress, _ = take(started(), event("playbook_on_task_start", role="first", name="Try"), stats())
    (ended,) = finish(progress, RunEnd(rc=None, status=None))
    assert isinstance(ended, Ended)
    assert "Try" not in ended.message


def test_escape_sequences_do_not_reach_the_log() -> None:
    _, changes = take(started(), event("verbose", "\x1b[0;31mred\x1b[0m\r\n\x1b]0;title\x07line\x00 two\x1b"))
    assert changes == [Logged(role="first", text="red\nline two")]


def test_processes_that_outlive_a_run_are_reported() -> None:
    progress, _ = take(started("first"), event("runner_on_ok", host="h1", role="first"), stats())
    (ended,) = finish(progress, RunEnd(rc=0, status="successful", tree_gone=False))
    assert isinstance(ended, Ended)
    assert "still alive" in ended.message


def test_limits_fit_the_size_of_the_log() -> None:
    assert ansible_results.MESSAGE_LIMIT < run_progress.EVENT_LIMIT < run_progress.ROLE_LIMIT


def finding(role: str, text: str, *, host: str = "h1") -> dict[str, Any]:
    return event("runner_on_ok", host=host, role=role, res={"findings": [{"rule": "r"}], "msg": f"Rule: {text}."})


def test_in_check_mode_a_role_with_findings_fails_and_the_run_continues() -> None:
    progress, _ = advance(begin(["first", "second"], "h1", check=True), event("playbook_on_start"))
    found = (finding("first", "a"), finding("first", "b"), finding("first", "other", host="h2"))

    progress, changes = take(progress, *found, event("playbook_on_task_start", role="second"))

    ended = next(change for change in changes if isinstance(change, Ended))
    assert (ended.role, ended.verdict, ended.code, ended.message) == (
        "first",
        "FAILED",
        "FINDINGS",
        "Rule: a. Rule: b.",
    )
    assert Started(role="second") in changes
    progress, _ = take(progress, event("runner_on_ok", host="h1", role="second", res={}), stats())
    (last,) = finish(progress, WELL)
    assert isinstance(last, Ended) and (last.role, last.verdict) == ("second", "SUCCESSFUL")


def test_findings_of_the_last_role_and_those_before_a_failure_are_reported() -> None:
    progress, _ = advance(begin(["first"], "h1", check=True), event("playbook_on_start"))
    progress, _ = take(progress, finding("first", "a"))
    (ended,) = finish(take(progress, stats())[0], replace(WELL, events_complete=False))
    assert isinstance(ended, Ended) and ended.code == "FINDINGS"
    assert ended.message == "Rule: a. Events of this run were lost: its log has gaps."
    progress, _ = take(progress, failed(msg="boom"), stats(failures={"h1": 1}))
    (ended,) = finish(progress, RunEnd(rc=2, status="failed"))
    assert isinstance(ended, Ended) and ended.code == "TASK_FAILED"
    assert ended.message.startswith("Rule: a. boom")


def test_ten_findings_and_ten_unchecked_rules_of_a_role_are_reported() -> None:
    progress, _ = advance(begin(["first", "second"], "h1", check=True), event("playbook_on_start"))
    unchecked = [
        event("runner_on_ok", host="h1", role="first", res={"unchecked": True, "msg": f"u{number}"})
        for number in range(12)
    ]
    passed = take(progress, *unchecked, event("playbook_on_task_start", role="second"))[1]
    found = take(progress, *[finding("first", str(number)) for number in range(12)])[0]

    assert " ".join(f"u{number}" for number in range(10)) in str(passed) and "u10" not in str(passed)
    next_role, _ = take(progress, *unchecked, event("runner_on_ok", host="h1", role="second"), stats())
    assert [change.message for change in finish(next_role, WELL) if isinstance(change, Ended)] == [
        "Ansible tasks: 1 ok."
    ]
    assert found.findings == tuple(f"Rule: {number}." for number in range(10))


def test_findings_count_only_in_check_mode() -> None:
    _, changes = take(started(), finding("first", "a"), event("playbook_on_task_start", role="second"))
    assert [change.verdict for change in changes if isinstance(change, Ended)] == ["SUCCESSFUL"]
