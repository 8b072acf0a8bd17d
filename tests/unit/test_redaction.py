"""Redaction of a run's events: they keep their meaning for the subtasks and lose every secret."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from service.outcome import ansible_results, host_changes
from service.outcome.failures import BLOCK_LIMIT, MAX_BLOCKS
from service.outcome.masking import MASK, masker
from service.outcome.redaction import redact
from service.outcome.run_progress import EVENT_LIMIT, Ended, Logged, RunEnd, ServerFacts, Verdict
from tests.unit.streams.malformed import NAMES, ROLES, malformed_events
from tests.unit.streams.record import JOB_ID
from tests.unit.streams.replay import Event, Stream, load, replay

NEEDLE = "Needle#1"
mask = masker([{"password": NEEDLE}])


def redacted_stream(stream: Stream, hide: Callable[[str], str] = str) -> Stream:
    return replace(stream, events=[redact(ansible_results.mapping(event), hide) for event in stream.events])


@pytest.mark.parametrize("name", NAMES)
def test_redacted_events_mean_the_same_as_the_events(name: str) -> None:
    stream = load(name)
    assert replay(redacted_stream(stream), token=JOB_ID) == replay(stream, token=JOB_ID)


@settings(max_examples=300)
@given(events=malformed_events())
def test_redacted_malformed_events_mean_the_same_as_the_events(events: list[Any]) -> None:
    stream = Stream(roles=ROLES, host="h1", events=events, end=RunEnd(rc=2, status="failed"))
    assert replay(redacted_stream(stream)) == replay(stream)


def event(kind: str, stdout: str = "", **data: Any) -> Event:
    about = {"role": "one", "host": "h1", "task": "Do it", "task_action": "debug", "task_uuid": "u"}
    return {"event": kind, "stdout": stdout, "event_data": about | data}


def changes_of(*events: Event, hide: Callable[[str], str] = mask) -> list[Any]:
    begun: list[Event] = [{"event": "playbook_on_start", "event_data": {}}, *events]
    return list(
        replay(redacted_stream(Stream(roles=["one"], host="h1", events=begun, end=RunEnd(rc=2, status="failed")), hide))
    )


def event_full_of(secret: str) -> Event:
    server = {"pid": 1, "drift": [f"is {secret}"], "managed_by": secret, "odd": {"a": secret}}
    res = {
        "msg": ["a", f"b{secret}"],
        "stderr": f"{secret}\n{secret}",
        "module_stdout": secret,
        "stdout": secret,
        "_ansible_item_label": secret,
        "_ansible_delegated_vars": {"ansible_delegated_host": secret},
        "invocation": {"module_args": {"password": secret}},
        "ansible_facts": {"x": [secret]},
        "obproxy_server": server,
    }
    data = {"task": f"Set {secret}", "name": f"Set {secret}", "task_args": secret, "res": res, "play_pattern": secret}
    return event("runner_on_failed", f"failed: {secret}", **data) | {"runner_ident": secret}


def test_no_text_of_a_redacted_event_contains_a_secret() -> None:
    shown = repr(redact(event_full_of(NEEDLE), mask))
    assert NEEDLE not in shown
    assert shown.count(MASK) >= 10


def test_the_fields_of_an_event_that_leave_the_run() -> None:
    about: Event = {"role": "one", "subtask": "one", "host": "h1", "task_uuid": "u", "task_action": "debug"}
    about |= {"is_conditional": True, "ignore_errors": True, "processed": {"h1": 1}, "failures": {}, "dark": {}}
    kept = {"event": "runner_on_ok", "counter": 3, "job_id": 7, "uuid": "id", "created": "now"}
    named = {"name": NEEDLE, "task": f"do {NEEDLE}", "delegate": "h2"}
    res: Event = {"changed": True, "finished": 1, "rc": 2, "ansible_job_id": "j", "unchecked": True}
    texts: Event = {"msg": ["a", "", NEEDLE], "stdout": "b", "stderr": "c", "module_stderr": "d"}
    texts |= {"module_stdout": NEEDLE}
    delegated = {"ansible_delegated_host": "h2"}
    change = {"what": "parameter", "name": "a", "before": NEEDLE, "after": None, "needs_restart": True}

    sent = res | texts | {"invocation": {"module_args": {}}, "findings": [{"a": 1}], "changes": [change]}
    sent |= {"obproxy_found": {"pid": 7, "login": NEEDLE}}
    data = about | named | {"blocks": ["b1", 2], "play_pattern": "all", "res": sent}

    shown = redact({**kept, "pid": 1, "stdout": f"ok: {NEEDLE}", "event_data": data}, mask)

    left = res | {"findings": [True], "msg": f"a\n{MASK}", "stdout": "b", "stderr": "c", "module_stderr": "d"}
    left |= {"module_stdout": MASK, "_ansible_item_label": "", "changes": [change | {"before": MASK}]}
    left |= {"obproxy_found": {"pid": 7, "login": MASK}}
    masked = {"name": MASK, "task": f"do {MASK}", "delegate": "h2", "blocks": ["b1", ""], "res": left}
    assert shown == kept | {"stdout": f"ok: {MASK}", "event_data": about | masked}
    labelled = {"_ansible_item_label": f"is {NEEDLE}", "_ansible_delegated_vars": delegated, "findings": []}
    assert redact({"event_data": {"res": labelled | {"unchecked": "yes"}}}, mask) == {
        "stdout": "",
        "event_data": {"res": labelled | {"_ansible_item_label": f"is {MASK}"}},
    }
    assert redact({"event_data": {"res": {"_ansible_item_label": 3}}}, mask)["event_data"] == {
        "res": {"_ansible_item_label": 3}
    }
    assert redact({}, mask) == {"stdout": "", "event_data": {}}


def test_the_size_of_a_redacted_event_is_limited() -> None:
    change = {"what": "w" * 300, "name": "n", "before": "b" * 50_000, "after": 7, "needs_restart": "yes"}
    res: Event = {"msg": "m" * 50_000, "stderr": f"{'e' * 5_000}end", "changes": [change] * 2_000}
    res |= {"_ansible_item_label": "l" * 5_000, "_ansible_delegated_vars": {"ansible_delegated_host": "h" * 5_000}}
    data: Event = {"name": "n" * 5_000, "task": "t" * 5_000, "delegate": "d" * 5_000, "blocks": ["b" * 5_000] * 500}

    shown = redact({"stdout": "o" * 1_200_000, "event_data": data | {"res": res}}, mask)

    assert len(shown["stdout"]) == 1_000_000 + 4096
    data, res = shown["event_data"], shown["event_data"]["res"]
    assert [len(data[name]) for name in ("name", "task", "delegate")] == [200 + 4096] * 3
    assert (len(data["blocks"]), len(data["blocks"][0])) == (MAX_BLOCKS, BLOCK_LIMIT)
    assert len(res["msg"]) == 16_000 + 4096
    assert res["stderr"] == f"{'e' * 4093}end"
    assert (
        len(res["_ansible_item_label"]) == len(res["_ansible_delegated_vars"]["ansible_delegated_host"]) == 200 + 4096
    )
    assert len(res["changes"]) == host_changes.MAX_CHANGES + 1
    first = res["changes"][0]
    assert (len(first["what"]), len(first["before"])) == (200, host_changes.VALUE_LIMIT + 4096)
    assert (first["after"], first["needs_restart"]) == ({}, False)


@pytest.mark.parametrize("change", [None, "text", {}, {"what": 1, "name": 2}])
def test_a_change_of_another_form_has_no_texts(change: object) -> None:
    shown = redact({"event_data": {"res": {"changes": [change]}}}, mask)["event_data"]["res"]["changes"]
    assert shown == [{"what": "", "name": "", "needs_restart": False, "before": None, "after": None}]


def test_server_facts_have_two_levels_and_keep_their_types() -> None:
    facts = {"a": 1, "b": None, "c": 0.5, "d": [[1, [NEEDLE]]], "e": {"x": {NEEDLE: {"z": 1}}, "y": NEEDLE}, "f": {1}}
    shown = redact({"event_data": {"res": {"obproxy_server": facts}}}, mask)["event_data"]["res"]["obproxy_server"]
    assert shown == facts | {"d": [[1, {}]], "e": {"x": {NEEDLE: {}}, "y": MASK}, "f": {}}


def test_what_identifies_an_obproxy_is_not_masked() -> None:
    names = ("pid", "version", "architecture", "home", "owner", "package", "start_mode", "exporter_port")
    facts = dict.fromkeys(names, NEEDLE)
    assert (
        redact({"event_data": {"res": {"obproxy_server": facts}}}, mask)["event_data"]["res"]["obproxy_server"] == facts
    )


def test_a_secret_cut_by_the_event_limit_is_masked() -> None:
    for before in range(EVENT_LIMIT - len(NEEDLE), EVENT_LIMIT + 1):
        (log,) = [c.text for c in changes_of(event("runner_on_ok", "." * before + NEEDLE)) if isinstance(c, Logged)]
        assert "N" not in log.split("[cut")[0]


def test_a_secret_equal_to_a_term_of_ansible_keeps_the_event_readable() -> None:
    """A password may equal the name of a role or of an Ansible event."""
    weak = masker([{"a_password": "runner_on_ok", "b_password": "admin", "c_token": "censored", "d_secret": "h1h1"}])
    server = {"owner": "admin", "home": "/home/admin/obproxy", "drift": ["owner is admin"]}
    changes = changes_of(event("runner_on_ok", "ok: admin", res={"obproxy_server": server}), hide=weak)

    (learned,) = [change.values for change in changes if isinstance(change, ServerFacts)]
    assert learned == {"owner": "admin", "home": "/home/admin/obproxy", "drift": [f"owner is {MASK}"]}
    assert [change.text for change in changes if isinstance(change, Logged)] == [f"ok: {MASK}"]


def test_parameters_of_an_obproxy_are_reported_without_secrets() -> None:
    parameters = {"app_name": f"http://u:{NEEDLE}@192.0.2.1", "work_thread_num": "4"}
    definitions = {"app_name": [f"as in {NEEDLE}", True, "", False]}
    server = {"parameters": parameters, "parameter_definitions": definitions}

    changes = changes_of(event("runner_on_ok", res={"obproxy_server": server}))

    (learned,) = [change.values for change in changes if isinstance(change, ServerFacts)]
    assert learned == {
        "parameters": {"app_name": f"http://u:{MASK}@192.0.2.1", "work_thread_num": "4"},
        "parameter_definitions": {"app_name": [f"as in {MASK}", True, "", False]},
    }


@pytest.mark.parametrize("res", [{"censored": "…"}, {"results": [{"censored": "…"}]}])
def test_a_result_hidden_by_no_log_does_not_leave_the_run(res: Mapping[str, Any]) -> None:
    shown = redact(event("runner_on_failed", "printed all the same", res={**res, "msg": "said all the same"}), str)

    assert shown["event_data"]["res"] == {"censored": True}
    assert "all the same" not in repr(shown)
    (*_, last) = changes_of(event("runner_on_failed", "printed all the same", res=res))
    assert isinstance(last, Ended) and last.verdict is Verdict.FAILED and ansible_results.HIDDEN in last.message
