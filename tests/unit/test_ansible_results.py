"""The reading of one Ansible result: its text, and the parts that count."""

import json
from dataclasses import replace
from typing import Any

import pytest

from service.outcome import ansible_results, server_facts


def event(**res: Any) -> dict[str, Any]:
    return {"event": "runner_on_failed", "event_data": {"host": "h1", "role": "r", "task": "Try", "res": res}}


WHERE = '(Ansible task "Try", role r, host h1)'


@pytest.mark.parametrize(
    ("res", "text"),
    [
        ({"msg": "boom"}, "boom"),
        ({"msg": "two\n  lines\r\n"}, "two lines"),
        ({"msg": ["a list", "of texts", 3]}, "a list of texts"),
        ({"msg": "Task failed: Module failed: boom"}, "Module failed: boom"),
        ({"msg": "boom", "rc": 0}, "boom"),
        ({"msg": "boom", "rc": 127, "stderr": "sh: nc: not found\n"}, "boom Exit code 127. stderr: sh: nc: not found"),
        ({"msg": "boom", "module_stderr": "Traceback", "stderr": "other"}, "boom module_stderr: Traceback"),
        ({"msg": "boom", "stderr": "a" * 400 + "b" * 600}, f"boom stderr: … {'b' * 600}"),
        ({"msg": "boom", "stderr": f"{'a' * 5000}\n" + " " * 1000 + "b" * 200}, f"boom stderr: {'b' * 200}"),
        ({"msg": "boom", "module_stdout": "out"}, "boom module_stdout: out"),
        ({"msg": "boom", "rc": -255}, "boom Exit code -255."),
        ({"msg": "boom", "rc": -256}, "boom"),
        ({"msg": "boom", "rc": 2**31 - 1}, f"boom Exit code {2**31 - 1}."),
        ({"msg": "boom", "rc": 2**31}, "boom"),
        ({"censored": "…", "rc": 1, "stderr": "secret"}, ansible_results.HIDDEN),
        (
            {"msg": "boom", "stderr": "b" * ansible_results.TAIL_LIMIT},
            f"boom stderr: {'b' * ansible_results.TAIL_LIMIT}",
        ),
        ({"msg": "c" * ansible_results.MESSAGE_LIMIT}, "c" * ansible_results.MESSAGE_LIMIT),
        ({"msg": "boom", "rc": 10**5000}, "boom"),
        ({"msg": "boom", "rc": True}, "boom"),
        ({"censored": "…", "msg": "secret"}, ansible_results.HIDDEN),
        ({"msg": "secret", "results": [{"censored": "…"}]}, ansible_results.HIDDEN),
        ({}, "No message was given."),
        ({"msg": {"a": "map"}}, "No message was given."),
    ],
)
def test_failure(res: dict[str, Any], text: str) -> None:
    message = ansible_results.failure_message(event(**res))
    assert message == f"{text} {WHERE}"
    assert "secret" not in message


@pytest.mark.parametrize(
    ("stdout", "text"),
    [
        ("[ERROR]: Task failed: Module failed: boom\r\nOrigin: site.yml:1:3\r\n\r\n1 - x\r\n", "Module failed: boom"),
        ("[ERROR]: two\nlines\n\nfatal: [h1]", "two lines"),
        ("fatal: [h1]: FAILED! => {}", "fatal: [h1]: FAILED! => {}"),
    ],
)
def test_a_failure_without_a_result_is_read_from_the_output(stdout: str, text: str) -> None:
    assert ansible_results.failure_message({**event(), "stdout": stdout}) == f"{text} {WHERE}"


def test_the_output_of_a_failure_without_a_result_is_cut() -> None:
    message = ansible_results.failure_message({**event(), "stdout": "x" * 1201})
    assert message == f"{'x' * 1200} … {WHERE}"


def test_the_names_in_a_message_are_cut() -> None:
    data = {"host": "h" * 300, "task": "t" * 300, "role": "r" * 300, "delegate": "d" * 300, "res": {"msg": "m"}}
    message = ansible_results.failure_message({"event_data": data})
    where = f'Ansible task "{"t" * 200}", role {"r" * 100}, host {"h" * 200}, delegated to {"d" * 200}'
    assert message == f"m ({where})"
    assert ansible_results.subtask({"subtask": "s" * 300}) == "s" * 200
    hidden = {"event": "e" * 100, "event_data": {"host": "h" * 300, "res": {"censored": ""}}}
    assert ansible_results.printed_text(hidden) == f"{'e' * 40}: [{'h' * 200}] => {ansible_results.HIDDEN}"


@pytest.mark.parametrize(
    ("res", "text"),
    [
        ({"_ansible_item_label": "one", "msg": "boom"}, "one: boom"),
        ({"_ansible_item_label": 7, "msg": "boom"}, "7: boom"),
        ({"_ansible_item_label": {"a": 1}, "msg": "boom"}, "boom"),
        ({"_ansible_item_label": "l" * 101, "msg": "boom"}, f"{'l' * 100}: boom"),
        ({"msg": "x" * 1201}, f"{'x' * 1200} …"),
        ({"_ansible_item_label": "one", "censored": "", "msg": "secret", "rc": 1}, f"one: {ansible_results.HIDDEN}"),
    ],
)
def test_a_failed_loop_item_has_its_label(res: dict[str, Any], text: str) -> None:
    assert ansible_results.item_message(event(**res)) == text


def ok(**res: Any) -> dict[str, Any]:
    return event(**res) | {"event": "runner_on_ok"}


def test_findings_and_what_could_not_be_checked_are_ok_results() -> None:
    assert ansible_results.has_findings(ok(findings=[{}]))
    assert not any(map(ansible_results.has_findings, (ok(findings=[]), ok(findings="x"), event(findings=[{}]))))
    assert ansible_results.finding_message(ok(msg="a\nb")) == "a b"
    assert ansible_results.finding_message(ok()) == "A rule does not hold."
    assert ansible_results.unchecked_message(ok(msg="no\nlogin", unchecked=True)) == "no login"
    for other in (ok(msg="x", unchecked=1), ok(msg="x"), event(msg="x", unchecked=True)):
        assert ansible_results.unchecked_message(other) == ""


SOME = ansible_results.Tally(ok=5, changed=5, skipped=5, ignored=5, failed=5, unreachable=5, background=5)


@pytest.mark.parametrize(
    ("kind", "data", "counted"),
    [
        ("runner_on_ok", {}, ["ok"]),
        ("runner_on_ok", {"res": {"changed": True}}, ["ok", "changed"]),
        ("runner_on_ok", {"res": {"changed": 1}}, ["ok"]),
        ("runner_on_ok", {"res": {"ansible_job_id": "1", "finished": 0}}, ["ok", "background"]),
        ("runner_on_ok", {"res": {"ansible_job_id": "1", "finished": 1}}, ["ok"]),
        ("runner_on_ok", {"res": {"ansible_job_id": "1"}}, ["ok"]),
        ("runner_on_ok", {"res": {"finished": 0}}, ["ok"]),
        ("runner_on_ok", {"task_action": "ansible.builtin.validate_argument_spec"}, []),
        ("runner_on_ok", {"task_action": f"{'x' * 190}validate_argument_spec"}, ["ok"]),
        ("runner_on_skipped", {}, ["skipped"]),
        ("runner_on_failed", {"ignore_errors": True}, ["ignored"]),
        ("runner_on_failed", {"ignore_errors": 1}, ["failed"]),
        ("runner_on_failed", {}, ["failed"]),
        ("runner_on_unreachable", {}, ["unreachable"]),
        ("runner_item_on_ok", {"res": {"changed": True}}, []),
    ],
)
def test_final_results_are_counted(kind: str, data: dict[str, Any], counted: list[str]) -> None:
    assert SOME.add({"event": kind, "event_data": data}) == replace(SOME, **dict.fromkeys(counted, 6))


def test_the_counts_of_a_role_are_a_sentence() -> None:
    assert str(SOME) == (
        "Ansible tasks: 5 ok, 5 changed, 5 skipped, 10 ignored, 5 rescued, 5 left running in the background."
    )
    assert str(ansible_results.EMPTY_TALLY) == ""


@pytest.mark.parametrize(
    ("changed", "count"), [(0, None), (1, "1 Ansible task"), (2, "2 Ansible tasks"), (3, "3 Ansible tasks")]
)
def test_a_failure_after_changes_has_a_note(changed: int, count: str | None) -> None:
    notes = ansible_results.Tally(changed=changed).notes_on_failure()
    text = f"{count} had made changes before; handlers notified by then may not have run."
    assert notes == ([text] if count else [])


def test_a_role_without_work_is_reported() -> None:
    assert str(ansible_results.Tally(skipped=2)) == "Nothing was done: all Ansible tasks were skipped."


def test_the_text_of_a_result_is_limited() -> None:
    lines = ansible_results.essential_lines(event(msg=["x" * 20_000, "y" * 20_000], rc=3))
    assert lines == f"rc: 3\nmsg: {'x' * 16_000}"
    assert ansible_results.essential_lines(event(msg=["x" * 10_000, "y" * 10_000])).count("y") == 16_000 - 10_001
    assert ansible_results.essential_lines(event(msg="Task failed: Task failed: a")) == "msg: Task failed: a"
    printed = ansible_results.printed_text({**event(), "stdout": "\n\nX marks\n"})
    assert printed == "X marks"
    assert ansible_results.printed_text({**event(), "stdout": "x" * 1_000_001}) == "x" * 1_000_000
    assert ansible_results.clean("\x07" * 20 + "ab", 10) == ""
    assert ansible_results.failure_message(event(censored=""), ["item"]) == f"{ansible_results.HIDDEN} {WHERE}"


def test_a_failure_names_the_delegate_and_leaves_out_a_missing_role() -> None:
    data = {"host": "h1", "task": "T", "res": {"msg": "m", "_ansible_delegated_vars": {"ansible_delegated_host": "h2"}}}
    assert ansible_results.failure_message({"event_data": data}) == 'm (Ansible task "T", host h1, delegated to h2)'


def test_a_long_message_is_cut_with_a_note() -> None:
    message = ansible_results.failure_message(event(msg="x " * 10_000))
    assert len(message) < ansible_results.MESSAGE_LIMIT + 100
    assert f"… {WHERE}" in message


def test_hidden_results_are_not_printed() -> None:
    printed = ansible_results.printed_text({**event(censored="…"), "stdout": "[ERROR]: Task failed: secret"})
    assert printed == f"runner_on_failed: [h1] => {ansible_results.HIDDEN}"


GOOD: dict[str, list[Any]] = {
    "pid": [1, 2**31 - 1],
    "version": ["4.3.1.0-1", "1.9.1.1-1919579"],
    "architecture": ["x86_64", "aarch64"],
    "home": ["/opt/taobao/install/obproxy-4.3.1.0", "/"],
    "owner": ["admin", "a", "a" * 128],
    "package": ["obproxy-4.3.1.0-1.el8.x86_64", None],
    "start_mode": ["config_url", "rs_list"],
    "exporter_port": [1, 2884, 65535, None],
    "supervised": [True, False],
    "pending_restart": [[], ["x" * 128] * 500, ["proxy_mem_limited", "work_thread_num"]],
    "drift": [["The binary belongs to no  package.", "Größe: 5 %", f"\t{'x' * 1998}."]],
    "parameter_drift": [
        [],
        [{"name": "work_thread_num", "expected": "8", "found": ""}] * 1000,
        [{"name": "a", "expected": "x" * 4096, "found": "\t"}],
    ],
    "password_drift": [[], ["observer_sys_password"]],
    "login_error": ["1045: Access denied"],
    "is_rediscovered": [True, False],
    "is_synchronised": [True, False],
    "managed_by": ["another manager"],
    "parameters": [
        {},
        {"mng_url": "", "_x9": "Größe: 5 %"},
        {f"p{n}": "x" * 150 for n in range(1000)},
        {"a": "x" * 4096},
    ],
    "parameter_definitions": [
        {"work_thread_num": ["thread num, [1, +∞]", True, "[1,128]", False]},
        {"a": ["d" * 1000, True, "r" * 200, True]},
    ],
}
BAD: dict[str, list[Any]] = {
    "pid": [0, -1, True, "1", 2**31, None, 1.0],
    "version": ["4.3.1.0", "latest", "", None, "4.3.1.0-1\n", 4, "1.2-" + "x" * 100],
    "architecture": ["", "x" * 33, ["x86_64"], "x86\x1b[31m"],
    "home": ["relative", "", "/" + "x" * 4096, "/a\nb", b"/home"],
    "owner": ["", "a" * 129, None, "a\x00b", "\ud800"],
    "package": ["", 1, "x" * 257],
    "start_mode": ["other", None, [], {}],
    "exporter_port": [0, 65536, "2884", False],
    "supervised": [0, 1, "true", None],
    "pending_restart": ["proxy_mem_limited", [1], [[]], [""], ["x"] * 501, ["x" * 129], {}],
    "drift": ["a sentence", [None], ["x" * 2001], ["y"] * 101],
    "parameter_drift": [
        *(None, {}, ["a"], [{}], [{"name": "a", "expected": "1"}], [{"name": "a b", "expected": "", "found": ""}]),
        *([{"name": "a", "expected": 1, "found": ""}], [{"name": "a", "expected": "", "found": "x\x1b[31m"}]),
        *([{"name": "a", "expected": "", "found": "", "x": ""}], [{"name": "a", "expected": "", "found": ""}] * 1001),
        *([{"name": "a", "expected": "x" * 4097, "found": ""}], [{"name": "a", "expected": "", "found": "x" * 4097}]),
        [{"name": 1, "expected": "", "found": ""}],
    ],
    "password_drift": [None, "a", [1], ["x"] * 21, ["x" * 129]],
    "login_error": [None, "", "a\nb", "x" * 2001],
    "is_rediscovered": [1, None],
    "is_synchronised": [0, "true"],
    "managed_by": [None, "", "x" * 257],
    "parameters": [
        *([], "a=b", {"a": 1}, {"a": None}, {"a b": ""}, {"": ""}, {1: ""}, {"a\n": ""}, {"a": "x\x1b[31m"}),
        *({"a": "x" * 4097}, {f"p{n}": "" for n in range(1001)}, {f"p{n}": "x" * 250 for n in range(1000)}),
    ],
    "parameter_definitions": [
        *({"a": []}, {"a": ["d", True, ""]}, {"a": ["d", "true", "", False]}, {"a": ["d", True, "", 0]}),
        *({"a": ["d" * 1001, True, "", False]}, {"a": ["d", True, "r" * 201, False]}),
        *({"a": [None, True, "", False]}, {"a": ["d\x00", True, "", False]}, {"a": "dtrf"}),
    ],
    "unknown": ["anything"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in GOOD.items() for value in values])
def test_accepted_facts(key: str, value: Any) -> None:
    assert server_facts.validated(event(obproxy_server={key: value})) == ({key: value}, [])
    json.dumps(value)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_ignored_facts(key: str, value: Any) -> None:
    assert server_facts.validated(event(obproxy_server={key: value})) == ({}, [key])


def test_the_parameters_of_one_server_are_limited_together() -> None:
    full = {f"p{n:03}": "x" * 4096 for n in range(server_facts.PARAMETERS_LIMIT // 4100)}
    rest = server_facts.PARAMETERS_LIMIT - 4100 * len(full)

    def is_valid(last: int) -> bool:
        return bool(server_facts.validated(event(obproxy_server={"parameters": full | {"last": "x" * last}}))[0])

    assert is_valid(rest - len("last"))
    assert not is_valid(rest - len("last") + 1)


def test_the_names_of_ignored_facts_are_cut() -> None:
    assert server_facts.validated(event(obproxy_server={"x" * 61: 1, 7: 1})) == ({}, ["x" * 60, "<class 'int'>"])


def test_every_fact_key_is_tested() -> None:
    assert server_facts.VALIDATORS.keys() == GOOD.keys()


@pytest.mark.parametrize("facts", [None, [], "text", {1: 2}, {b"pid": 1}, {"": 1}])
def test_facts_that_are_no_map_of_names_are_ignored(facts: Any) -> None:
    assert server_facts.validated(event(obproxy_server=facts))[0] == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (b"bytes \xff", "bytes \ufffd"),
        ("\ud800", "?"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("\x1b[1;31mred\x1b[0m\x1b(B \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x9b\x00\x7f", "red link "),
        (None, ""),
        (1, ""),
        (["list"], ""),
    ],
)
def test_clean(value: Any, text: str) -> None:
    assert ansible_results.clean(value) == text


def test_clean_cuts() -> None:
    assert ansible_results.clean("x" * 100, 10) == "x" * 10


@pytest.mark.parametrize("message", ["hostvars['cfg']", "Task failed: hostvars['cfg']", "hostvars['cfg']."])
def test_a_host_that_the_inventory_does_not_have_is_named_in_full(message: str) -> None:
    event = {"event_data": {"task": "Validate", "host": "b", "res": {"msg": message}}}
    said = "hostvars['cfg'] is undefined: the inventory has no host 'cfg' "
    assert ansible_results.failure_message(event).startswith(said)
    assert ansible_results.expanded("hostvars['cfg'] is fine") == "hostvars['cfg'] is fine"


@pytest.mark.parametrize(
    ("action", "res", "expected"),
    [
        ("ansible.builtin.validate_argument_spec", {}, True),
        ("obproxy.takeover.obproxy_steps", {"argument_errors": ["port is missing"]}, True),
        ("obproxy.takeover.obproxy_steps", {"msg": "boom"}, False),
    ],
)
def test_wrong_arguments_are_recognized(action: str, res: dict[str, Any], expected: bool) -> None:
    assert ansible_results.has_wrong_arguments({"task_action": action, "res": res}) is expected
