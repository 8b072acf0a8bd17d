"""The events of an external run, as the callback plugin records them for the service."""

import json
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.handler import Handler
from ansible.template import trust_as_template
from ansible_collections.obproxy.takeover.plugins.module_utils.run_recorder import RunRecorder

from service.outcome import run_progress
from service.outcome.run_progress import Ended, RunEnd, Verdict

VARIABLES = {
    "ocp_host_id": 1,
    "obproxy_cluster_id": trust_as_template("{{ 3 + 4 }}"),
    "obproxy_sys_password": trust_as_template("{{ vault }}"),
    "vault": "Proxysys#1",
    "some_token": trust_as_template("{{ no_such_variable }}"),
}


def task(name: str, role: str = "") -> Any:
    """Return an Ansible task with this name."""

    def name_of_role(*, include_role_fqcn: bool) -> str:
        return f"of.a.collection.{role}" if include_role_fqcn else role

    owner = SimpleNamespace(get_name=name_of_role, _role_name=role, tags=[role]) if role else None
    shown = f"{role} : {name}" if role else name
    return SimpleNamespace(name=name, action="debug", _uuid=f"uuid of {name}", _role=owner, get_name=lambda: shown)


def result(of: Any, **values: Any) -> Any:
    return SimpleNamespace(task=of, result={"changed": False, "ansible_facts": {"a": 1}, **values})


@pytest.fixture
def recorder() -> RunRecorder:
    manager = SimpleNamespace(get_vars=lambda play, host: VARIABLES)
    play = SimpleNamespace(get_variable_manager=lambda: manager, get_loader=DataLoader)
    return RunRecorder(
        playbook="takeover", play=play, host=SimpleNamespace(get_name=lambda: "odp-1"), roles=["one", "two", "three"]
    )


DISCOVER, ONE, TWO, THREE = task("look"), task("do 1", "one"), task("do 2", "two"), task("do 3", "three")


def verdicts(run: dict[str, Any]) -> dict[str, Verdict]:
    """Return the service's verdicts by role."""
    progress = run_progress.begin(run["roles"], run["hostName"])
    ended = []
    for event in run["events"]:
        as_runner = {**event, "event_data": event["eventData"]}
        progress, changes = run_progress.advance(progress, as_runner)
        ended += [change for change in changes if isinstance(change, Ended)]
    rc = run.get("rc")
    status = None if rc is None else "failed" if rc else "successful"
    ended += [c for c in run_progress.finish(progress, RunEnd(rc=rc, status=status)) if isinstance(c, Ended)]
    return {change.role: change.verdict for change in ended}


def run_of(recorder: RunRecorder, rc: int | None) -> dict[str, Any]:
    run = recorder.as_external_run(rc)
    assert run is not None
    return run


def counts(failures: int = 0, unreachable: int = 0) -> dict[str, int]:
    return {"ok": 3, "changed": 0, "failures": failures, "unreachable": unreachable}


def run_tasks(recorder: RunRecorder, *tasks: Any) -> None:
    for one in tasks:
        recorder.start_task(one)
        recorder.add_result("runner_on_ok", "ok", result(one))


def test_a_run_that_ends_well(recorder: RunRecorder) -> None:
    run_tasks(recorder, DISCOVER, ONE, TWO, THREE)

    run = run_of(recorder, recorder.end(counts()))

    about = {"clusterId": 7, "hostId": 1, "sqlPort": 2883, "hostName": "odp-1", "playbook": "takeover", "rc": 0}
    about |= {"roles": ["one", "two", "three"], "events": recorder.events}
    times = {name: run[name] for name in ("startTime", "finishTime")}
    assert run == about | times | {"uuid": str(uuid.UUID(run["uuid"]))}
    assert verdicts(run) == dict.fromkeys(run["roles"], Verdict.SUCCESSFUL)
    starts = [event["stdout"] for event in run["events"] if event["event"] == "playbook_on_task_start"]
    assert starts == ["TASK [look]", "TASK [one : do 1]", "TASK [two : do 2]", "TASK [three : do 3]"]
    assert run["startTime"] == run["events"][0]["created"] <= run["finishTime"]


def without_time(event: dict[str, Any]) -> dict[str, Any]:
    assert datetime.fromisoformat(event["created"]).utcoffset() == timedelta()
    return {name: value for name, value in event.items() if name != "created"}


def test_the_events_of_a_result_in_full(recorder: RunRecorder) -> None:
    failed = task("do 2", "two")
    failed.name, failed.delegate_to = "", "odp-2"
    res = {"msg": ["a", 2], "rc": 1, "changed": True, "finished": 0, "ansible_job_id": "j", "changes": [{}]}
    res |= {"obproxy_server": {"pid": 1}, "_ansible_item_label": "i"}
    res |= {"module_stderr": "e", "stderr": "f", "module_stdout": "g"}

    recorder.add_result("runner_on_failed", "failed", result(failed, more="not reported", **res), ignore_errors=False)
    recorder.end(counts(failures=1))

    about: dict[str, Any] = {"task": "debug", "task_uuid": "uuid of do 2", "task_action": "debug", "role": "two"}
    about |= {"subtask": "two", "blocks": []}
    assert list(map(without_time, recorder.events)) == [
        {
            **{"event": "playbook_on_task_start", "counter": 1, "stdout": "TASK [two : do 2]"},
            "eventData": {**about, "name": "two : do 2", "is_conditional": False},
        },
        {
            **{"event": "runner_on_failed", "counter": 2, "stdout": "fatal: [odp-1]: FAILED! => a\n2"},
            "eventData": {**about, "host": "odp-1", "res": res, "delegate": "odp-2", "ignore_errors": False},
        },
        {
            **{"event": "playbook_on_stats", "counter": 3},
            "stdout": "PLAY RECAP\nodp-1 : ok=3 changed=0 failures=1 unreachable=0",
            "eventData": {"processed": {"odp-1": 1}, "failures": {"odp-1": 1}, "dark": {"odp-1": 0}},
        },
    ]


@pytest.mark.parametrize(
    ("outcome", "res", "stdout", "delegate"),
    [
        ("ok", {"msg": "m"}, "ok: [odp-1]", ""),
        ("changed", {}, "changed: [odp-1]", ""),
        ("skipped", {}, "skipping: [odp-1]", ""),
        ("failed", {}, "fatal: [odp-1]: FAILED! => ", "odp-2"),
        ("ignored", {"msg": "m"}, "fatal: [odp-1]: FAILED! => m\n...ignoring", ""),
        ("unreachable", {"msg": "m"}, "fatal: [odp-1]: UNREACHABLE! => m", "odp-2"),
        ("failed item", {"msg": "m", "_ansible_item_label": "i"}, "failed: [odp-1] (item=i) => m", ""),
        ("failed item", {"msg": ""}, "failed: [odp-1] (item=) => ", ""),
    ],
)
def test_a_result_is_printed_as_ansible_prints_it(
    recorder: RunRecorder, outcome: str, res: dict[str, Any], stdout: str, delegate: str
) -> None:
    delegated = task("do 1", "one")
    delegated.delegate_to = "odp-2"
    recorder.add_result("runner_on_any", outcome, result(delegated, **res))
    assert (recorder.events[-1]["stdout"], recorder.events[-1]["eventData"]["delegate"]) == (stdout, delegate)


def test_a_handler_starts_no_role(recorder: RunRecorder) -> None:
    handler = Handler()
    handler.name, handler.action, handler._role = "notified", "debug", ONE._role
    recorder.start_task(handler)
    recorder.start_task(handler)
    (start,) = [event["eventData"] for event in recorder.events]
    assert (start["is_conditional"], start["subtask"], run_of(recorder, 2)["roles"]) == (
        True,
        "one",
        ["one", "two", "three"],
    )
    recorder.start_task(TWO)
    assert run_of(recorder, 0)["roles"] == ["two"]


@pytest.mark.parametrize(
    ("outcomes", "counted", "rc"),
    [
        (["failed"], counts(), 0),
        (["unreachable"], counts(), 0),
        (["ok"], counts(failures=1, unreachable=1), 0),
        (["failed", "unreachable"], counts(unreachable=1), 4),
        (["failed", "unreachable"], counts(failures=1, unreachable=1), 2),
    ],
)
def test_only_a_failure_that_is_counted_and_of_this_play_fails_the_run(
    recorder: RunRecorder, outcomes: list[str], counted: dict[str, int], rc: int
) -> None:
    for outcome in outcomes:
        recorder.add_result("runner_on_any", outcome, result(ONE))
    assert recorder.end(counted) == rc
    failed = {name: recorder.events[-1]["eventData"][name]["odp-1"] for name in ("failures", "dark")}
    assert failed == {"failures": int(rc == 2), "dark": int("unreachable" in outcomes and counted["unreachable"] > 0)}


def test_facts_and_secrets_are_not_reported(recorder: RunRecorder) -> None:
    run_tasks(recorder, DISCOVER)
    recorder.add_result(
        "runner_on_failed", "failed", result(ONE, msg=["the password is", "Proxysys#1"]), ignore_errors=False
    )

    text = json.dumps(run_of(recorder, recorder.end(counts(failures=1))))

    assert "the password is" in text
    assert "Proxysys#1" not in text and "ansible_facts" not in text


@pytest.mark.parametrize(
    ("event", "outcome", "counted", "rc"),
    [
        ("runner_on_failed", "failed", counts(failures=1), 2),
        ("runner_on_unreachable", "unreachable", counts(unreachable=1), 4),
    ],
)
def test_a_failed_run_includes_the_roles_not_started(
    recorder: RunRecorder, event: str, outcome: str, counted: dict[str, int], rc: int
) -> None:
    run_tasks(recorder, DISCOVER, ONE)
    recorder.add_result(event, outcome, result(TWO, msg="broken"))

    run = run_of(recorder, recorder.end(counted))

    assert (run["rc"], run["roles"]) == (rc, ["one", "two", "three"])
    assert verdicts(run) == {"one": Verdict.SUCCESSFUL, "two": Verdict.FAILED}


def test_debug_output_is_reported(recorder: RunRecorder) -> None:
    shown: dict[str, Any] = {"_ansible_verbose_always": True, "a.b": ["x"], "changed": False, "failed": False}
    shown["at"] = datetime(2026, 1, 2)
    run_tasks(recorder, DISCOVER)
    recorder.add_result("runner_on_ok", "ok", SimpleNamespace(task=ONE, result=shown))

    text = run_of(recorder, 2)["events"][-1]["stdout"]
    assert text == 'ok: [odp-1] => {\n    "a.b": [\n        "x"\n    ],\n    "at": "2026-01-02 00:00:00"\n}'


def test_a_failure_of_another_play_does_not_count(recorder: RunRecorder) -> None:
    run_tasks(recorder, DISCOVER, ONE, TWO, THREE)

    assert recorder.end(counts(failures=1)) == 0


def test_an_ignored_failure_does_not_count(recorder: RunRecorder) -> None:
    run_tasks(recorder, DISCOVER, ONE, TWO)
    recorder.add_result("runner_on_failed", "ignored", result(THREE, msg="never mind"), ignore_errors=True)

    run = run_of(recorder, recorder.end(counts()))

    assert run["rc"] == 0
    assert verdicts(run) == dict.fromkeys(run["roles"], Verdict.SUCCESSFUL)
    assert "...ignoring" in run["events"][-2]["stdout"]


@pytest.mark.parametrize(
    ("tasks", "rc", "expected"),
    [
        ([DISCOVER, TWO, THREE], 0, ["two", "three"]),
        ([DISCOVER, TWO], 2, ["two", "three"]),
        ([DISCOVER, TWO], None, ["two", "three"]),
        ([DISCOVER], 4, ["one", "two", "three"]),
    ],
)
def test_roles_that_the_run_skipped_are_left_out(
    recorder: RunRecorder, tasks: list[Any], rc: int | None, expected: list[str]
) -> None:
    run_tasks(recorder, *tasks)

    assert run_of(recorder, rc)["roles"] == expected


def test_a_run_without_roles_is_not_reported(recorder: RunRecorder) -> None:
    run_tasks(recorder, DISCOVER)

    assert recorder.as_external_run(0) is None


def test_a_no_log_result_is_not_reported(recorder: RunRecorder) -> None:
    hidden = result(ONE, censored="hidden", msg="S3cret", _ansible_item_label="S3cret", stderr="S3cret")
    recorder.add_result("runner_item_on_failed", "failed item", hidden)

    run = run_of(recorder, 2)
    assert "S3cret" not in json.dumps(run)
    assert run["events"][-1]["eventData"]["res"] == {"changed": False, "censored": "hidden"}


def test_a_run_that_has_not_ended_has_no_exit_status(recorder: RunRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIABLES, "obproxy_sql_port", trust_as_template("{{ 2883 + 1000 }}"))
    run_tasks(recorder, ONE)

    run = run_of(recorder, None)
    assert (run["sqlPort"], run.get("rc", "none")) == (3883, "none")


def test_variables_are_templated_with_the_loader_of_the_play(
    recorder: RunRecorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "port").write_text("3883")
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))
    monkeypatch.setattr(recorder.play, "get_loader", lambda: loader)
    monkeypatch.setitem(VARIABLES, "obproxy_sql_port", trust_as_template("{{ lookup('file', 'port') }}"))
    run_tasks(recorder, ONE)

    assert run_of(recorder, 0)["sqlPort"] == 3883


def test_a_host_without_ocp_host_id_is_not_reported(recorder: RunRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(VARIABLES, "ocp_host_id")
    run_tasks(recorder, DISCOVER)

    assert recorder.as_external_run(4) is None


def test_a_host_without_cluster_is_an_error(recorder: RunRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(VARIABLES, "obproxy_cluster_id")
    run_tasks(recorder, DISCOVER)

    with pytest.raises(ValueError, match=r"^obproxy_cluster_id is not set: the host is in no OBProxy cluster$"):
        recorder.as_external_run(2)
