"""The findings of a host's discovery, from the events of its run."""

from typing import Any

import pytest

from service.outcome.host_findings import HostFindings, Outcome
from service.outcome.masking import masker
from service.outcome.redaction import redact
from service.outcome.verdict import RunEnd

TOKEN = 7
GOOD = RunEnd(rc=0, status="successful")
RULE = "Rule: Exactly one. Found: 2 of them. Fix: stop one."
PARSED = {"rule": "Exactly one.", "found": "2 of them.", "fix": "stop one."}
FOUND = {"sql_port": 2883, "pid": 25, "version": "4.3.1.0-1", "owner": "admin", "login": "cluster", "app_name": "a"}


def event(kind: str, token: int = TOKEN, **res: Any) -> dict[str, Any]:
    data = {"host": "h1", "task": "Do it", "res": res}
    return redact({"event": kind, "job_id": token, "event_data": data}, masker([{"password": "Secret#1"}]))


def ok(**res: Any) -> dict[str, Any]:
    return event("runner_on_ok", **res)


def findings(*events: dict[str, Any], end: RunEnd = GOOD) -> HostFindings:
    found = HostFindings(token=TOKEN)
    for each in events:
        found.add(each)
    found.finish(end)
    return found


def test_failed_rules_belong_to_the_obproxy_before_them() -> None:
    found = findings(
        ok(obproxy_found=FOUND),
        ok(msg="all 12 rules hold"),
        ok(obproxy_found=FOUND | {"sql_port": 3883, "pid": 26}),
        ok(findings=[{}], msg=RULE),
    )
    assert (found.outcome, found.message, found.rules) == (Outcome.DISCOVERED, "", [])
    assert {port: one["rules"] for port, one in found.obproxies.items()} == {2883: [], 3883: [PARSED]}
    assert found.obproxies[2883]["version"] == "4.3.1.0-1" and found.obproxies[2883]["package"] is None


def test_an_obproxy_is_described_by_its_texts() -> None:
    names = ("version", "package", "app_name", "home", "owner", "supervisor", "start_mode", "login", "managed_by")
    texts = {name: f"the {name}" for name in (*names, "managed_cluster")}

    found = findings(ok(obproxy_found={"sql_port": 1, "pid": 2**31 - 1, "more": "x"} | texts))

    assert found.obproxies == {1: {"sql_port": 1, "pid": 2**31 - 1, **texts, "rules": []}}
    assert findings(ok(obproxy_found=FOUND | {"pid": 1})).obproxies[2883]["pid"] == 1


def test_rules_of_a_host_without_an_obproxy_are_its_own() -> None:
    found = findings(ok(obproxy_found={"sql_port": 2883, "pid": None}), ok(findings=[{}], msg=RULE))
    assert (found.outcome, found.obproxies, found.rules) == (Outcome.DISCOVERED, {}, [PARSED])


def test_an_obproxy_that_is_discovered_again_replaces_itself() -> None:
    again = FOUND | {"pid": 99}
    found = findings(ok(obproxy_found=FOUND), ok(findings=[{}], msg=RULE), ok(obproxy_found=again))
    assert [(one["pid"], one["rules"]) for one in found.obproxies.values()] == [(99, [])]


@pytest.mark.parametrize(
    ("kind", "outcome"), [("runner_on_unreachable", Outcome.UNREACHABLE), ("runner_on_failed", Outcome.FAILED)]
)
def test_a_failure_has_its_rule_and_keeps_the_reason(kind: str, outcome: Outcome) -> None:
    found = findings(event(kind, msg=RULE), end=RunEnd(rc=4, status="failed"))
    assert (found.outcome, found.rules) == (outcome, [PARSED])
    assert found.message.startswith(RULE)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (RunEnd(rc=None, status="error", start_error="The run cannot start: no memory"), "no memory"),
        (RunEnd(rc=1, status="failed", last_lines="ERROR! broken"), "ERROR! broken"),
        (RunEnd(rc=-9, status="failed", last_lines="TASK [a]"), "(exit status -9). Its last output: TASK [a]"),
        (RunEnd(rc=None, status=None), "without a result (killed)."),
        (GOOD, "without a result (exit status 0)."),
    ],
    ids=["not started", "output", "killed playbook", "killed", "no event"],
)
def test_a_run_without_a_result_has_failed(end: RunEnd, message: str) -> None:
    found = findings(end=end)
    assert found.outcome is Outcome.FAILED and found.message.endswith(message)


def test_a_run_that_breaks_off_after_the_first_result_has_failed() -> None:
    assert findings(ok(obproxy_found=FOUND), end=RunEnd(rc=None, status=None)).outcome is Outcome.FAILED


def test_events_that_the_host_has_made_up_do_not_count() -> None:
    found = findings(ok(obproxy_found={"sql_port": 1, "pid": None}), event("runner_on_ok", 8, obproxy_found=FOUND))
    assert found.obproxies == {}


@pytest.mark.parametrize(
    "invalid",
    [
        {"pid": "25"},
        {"pid": 0},
        {"pid": 2**31},
        {"pid": True},
        {"sql_port": 65536},
        {"sql_port": None},
        {"sql_port": [2883]},
    ],
    ids=str,
)
def test_invalid_identities_are_left_out(invalid: dict[str, Any]) -> None:
    assert findings(ok(obproxy_found=FOUND | invalid)).obproxies == {}


@pytest.mark.parametrize("name", ["sql_port", "pid"])
def test_an_obproxy_without_an_identity_is_left_out(name: str) -> None:
    assert findings(ok(obproxy_found={key: FOUND[key] for key in FOUND if key != name})).obproxies == {}


@pytest.mark.parametrize(
    "value", [7, ["a"], {"a": 1}, "two\nlines", "\x1b[31m", "x" * 5000, ""], ids=lambda v: str(v)[:9]
)
def test_an_invalid_text_is_unknown(value: object) -> None:
    found = findings(ok(obproxy_found=FOUND | {"app_name": value}))
    assert found.obproxies[2883]["app_name"] is None


def test_secrets_are_masked() -> None:
    rule = RULE.replace("2 of them", "the password is Secret#1")
    found = findings(ok(obproxy_found=FOUND | {"app_name": "Secret#1"}), ok(findings=[{}], msg=rule))
    assert "Secret#1" not in str(found) and found.obproxies[2883]["rules"][0]["found"].startswith("the password is")


def test_the_number_of_obproxies_and_rules_is_limited() -> None:
    many = [ok(obproxy_found=FOUND | {"sql_port": port}) for port in range(1, 53)]
    rules = ok(findings=[{}], msg=" ".join([RULE] * 30))
    found = findings(ok(obproxy_found=FOUND), rules, rules, *many)
    assert len(found.obproxies) == 50 and len(found.obproxies[2883]["rules"]) == 50


def test_the_rules_of_a_failure_are_limited() -> None:
    assert len(findings(event("runner_on_failed", msg=" ".join([RULE] * 52))).rules) == 50


def test_rules_and_messages_are_cut() -> None:
    rule = {"rule": f"{'R' * 2100}.", "found": f"{'f' * 2100}.", "fix": f"{'x' * 2100}."}
    text = f"Rule: {rule['rule']} Found: {rule['found']} Fix: {rule['fix']}"
    (shown,) = findings(ok(obproxy_found={"sql_port": None}), ok(findings=[{}], msg=text)).rules
    assert {name: len(part) for name, part in shown.items()} == {"rule": 2000, "found": 2000, "fix": 2000}

    failed = findings(end=RunEnd(rc=None, status="error", start_error="e" * 3000))
    assert failed.message == f"{'e' * 2000} …"
