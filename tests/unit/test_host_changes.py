"""The changes that a result reports: what is accepted of them, and their sum over several hosts."""

from dataclasses import replace
from typing import Any

import pytest

from service.model.changes import HostChange, RecordedChange, changes_of
from service.model.tasks import Operation
from service.outcome.host_changes import MAX_CHANGES, ChangeSum, lasting_names, summed, validated
from service.outcome.masking import masker
from service.outcome.redaction import redact
from service.outcome.run_progress import Changed, advance, begin
from tests.unit.records import subtask

PARAMETER: dict[str, Any] = {
    "what": "parameter",
    "name": "syslog_level",
    "before": "INFO",
    "after": "WDIAG",
    "needs_restart": False,
}
KEPT = HostChange(what="parameter", name="syslog_level", before="INFO", after="WDIAG")


def result(*changes: object, event: str = "runner_on_ok", **data: Any) -> dict[str, Any]:
    return {"event": event, "event_data": {"host": "h1", "res": {"changes": list(changes)}, **data}}


@pytest.mark.parametrize("event", ["runner_on_ok", "runner_on_failed", "runner_on_unreachable"])
def test_a_result_lists_its_changes(event: str) -> None:
    new = {"what": "file", "name": "/etc/a", "before": None, "after": "text\n", "needs_restart": True}
    changes, notes = validated(result(PARAMETER, new, event=event))
    assert changes == [
        KEPT,
        HostChange(what="file", name="/etc/a", before=None, after="text\n", needs_restart=True),
    ]
    assert notes == []


def test_a_value_of_the_greatest_length_is_kept() -> None:
    ((change,), _) = validated(result(PARAMETER | {"after": "x" * 2000}))
    assert change.after == "x" * 2000


@pytest.mark.parametrize(
    "invalid",
    [
        None,
        "text",
        PARAMETER | {"what": "UPPER"},
        PARAMETER | {"what": 7},
        PARAMETER | {"name": ""},
        PARAMETER | {"before": 1},
        PARAMETER | {"after": {}},
    ],
    ids=str,
)
def test_an_invalid_change_is_left_out_with_a_note(invalid: object) -> None:
    changes, (note,) = validated(result(invalid, PARAMETER))
    assert changes == [KEPT] and "left out" in note


@pytest.mark.parametrize("event", ["runner_item_on_ok", "runner_on_skipped", "verbose"])
def test_only_final_results_have_changes(event: str) -> None:
    assert validated(result(PARAMETER, event=event)) == ([], [])


def test_names_and_values_are_cut_and_a_secret_name_hides_its_values() -> None:
    long = "x" * 6000
    (cut, secret), _ = validated(
        result(PARAMETER | {"name": long, "after": long}, PARAMETER | {"name": "a_password", "before": None})
    )
    assert (cut.name, cut.after) == ("x" * 300, f"{'x' * 2000} …")
    assert (secret.before, secret.after) == (None, "***")


def test_a_role_keeps_a_limited_number_of_changes() -> None:
    progress, _ = advance(begin(["first", "second"], "h1"), {"event": "playbook_on_start"})
    kept = 0
    for _ in range(3):
        progress, changes = advance(progress, result(*[PARAMETER] * (MAX_CHANGES - 1)))
        kept += sum(len(change.changes) for change in changes if isinstance(change, Changed))
    assert kept == MAX_CHANGES
    progress, changes = advance(progress, result(PARAMETER, subtask="second"))
    assert Changed(role="second", changes=[KEPT]) in changes


def test_changes_of_another_host_are_ignored() -> None:
    progress, _ = advance(begin(["first"], "h1"), {"event": "playbook_on_start"})
    assert not any(isinstance(change, Changed) for change in advance(progress, result(PARAMETER, host="h2"))[1])


def test_a_redacted_change_has_no_secret_and_stays_what_it_was() -> None:
    hide = masker([{"password": "Needle#1"}])
    secret = PARAMETER | {"name": "Needle#1", "before": "at Needle#1", "after": "x" * 2000 + "Needle#1"}
    redacted = redact(result(secret, PARAMETER | {"before": 7}, PARAMETER, "text", *[PARAMETER] * 1000), hide)
    assert "Needle#1" not in repr(redacted)
    assert len(redacted["event_data"]["res"]["changes"]) == MAX_CHANGES + 1
    changes, notes = validated(redacted)
    assert (changes[0].name, changes[0].before, changes[1]) == ("***", "at ***", KEPT)
    assert len(changes) == MAX_CHANGES - 2 and notes


def test_a_hidden_result_has_no_changes() -> None:
    event = result(PARAMETER)
    event["event_data"]["res"]["censored"] = "hidden by no_log"
    assert validated(redact(event, str)) == ([], [])


def recorded(what: str, name: str, operation: Operation = Operation.EXECUTE) -> RecordedChange:
    return RecordedChange(what=what, name=name, before="a", after="b", operation=operation, run_time=1)


def test_the_changes_of_a_subtask_are_read_in_their_order() -> None:
    rows = [PARAMETER | {"operation": "EXECUTE", "run_time": 1}, PARAMETER | {"operation": "RETRY", "run_time": 2}]
    assert changes_of(subtask(changes=rows)) == [
        RecordedChange(**PARAMETER, operation=Operation.EXECUTE, run_time=1),
        RecordedChange(**PARAMETER, operation=Operation.RETRY, run_time=2),
    ]
    assert changes_of(subtask(changes=None)) == []


def test_changes_are_summed_up_by_kind() -> None:
    names = ("one", "two", "three")
    hosts = [[recorded("parameter", name) for name in names[: 1 + number % 3]] for number in range(47)]
    hosts[0] += [recorded("file", "/etc/a"), recorded("file", "/etc/a", Operation.RETRY)]
    assert summed(hosts) == [
        ChangeSum(what="parameter", names=3, hosts=47),
        ChangeSum(what="file", names=1, hosts=1),
    ]
    assert summed([]) == []
    host = [recorded("file", "/b"), recorded("parameter", "two"), recorded("parameter", "one")]
    assert [(kind.what, kind.names) for kind in summed([host])] == [("parameter", 2), ("file", 1)]


def test_the_lasting_changes_of_a_host_are_named_by_kind() -> None:
    undone = [recorded("record", "/c"), recorded("record", "/c", Operation.ROLLBACK)]
    host = [recorded("parameter", "two"), recorded("file", "/b"), recorded("parameter", "one"), *undone]
    assert list(lasting_names(host).items()) == [("file", ["/b"]), ("parameter", ["one", "two"])]
    assert lasting_names([]) == {}


def test_changes_that_a_rollback_has_undone_do_not_count() -> None:
    undone = [recorded("parameter", "one"), recorded("parameter", "one", Operation.ROLLBACK)]
    assert summed([undone]) == []
    assert summed([[*undone, recorded("parameter", "two")]]) == [ChangeSum(what="parameter", names=1, hosts=1)]


def test_changes_that_lead_back_to_the_first_value_do_not_count() -> None:
    process = RecordedChange(
        what="process", name="obproxy", before=None, after="pid 7", operation=Operation.EXECUTE, run_time=1
    )
    ended = replace(process, before="pid 7", after=None)
    assert summed([[process, ended]]) == []
    assert summed([[process, ended, replace(process, after="pid 8")]]) == [ChangeSum(what="process", names=1, hosts=1)]
    password = replace(process, what="password", before="***", after="***")
    assert summed([[password, password]]) == [ChangeSum(what="password", names=1, hosts=1)]


def test_what_a_rollback_does_not_restore_counts_as_changed() -> None:
    kept = RecordedChange(
        what="not_restored", name="one", before="c", after="c", operation=Operation.ROLLBACK, run_time=1
    )
    assert summed([[recorded("parameter", "one"), kept]]) == [ChangeSum(what="parameter", names=1, hosts=1)]


def test_a_rollback_counts_after_everything_else() -> None:
    """Changes are in the order of the subtasks, and a rollback runs in the reverse one."""
    done, undone = (
        RecordedChange(what="record", name="/x", before=None, after=None, operation=operation, run_time=1)
        for operation in (Operation.EXECUTE, Operation.ROLLBACK)
    )
    assert summed([[undone, done]]) == []
    assert summed([[done]]) == [ChangeSum(what="record", names=1, hosts=1)]
