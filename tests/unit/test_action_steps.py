"""Several actions as one Ansible task: each sees the facts of those before it, and the first failure ends it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.model.settings import PROJECT

Ended = Mapping[str, tuple[str, dict[str, Any]]]
"""How each case ended, `ok` or `fatal`, and the result of its Ansible task."""

RULE = {"rule": "It holds", "found": "it does not", "fix": "make it hold"}
STEPS = "obproxy.takeover.obproxy_steps"
REQUIRE = "obproxy.takeover.obproxy_require"
GREEN = {"ansible.builtin.set_fact": {"color": "green", "cacheable": True}}
FIRST = {REQUIRE: {"rules": [], "success": "first"}}
NEVER = {REQUIRE: {"rules": [], "success": "{{ nowhere }}"}}

CASES: Mapping[str, list[dict[str, Any]]] = {
    "facts": [
        GREEN,
        {REQUIRE: {"rules": [{**RULE, "that": "ansible_facts.color == 'green'"}], "success": "it is green"}},
    ],
    "conditions": [
        {REQUIRE: {"rules": [], "rules_from": [], "success": "first"}, "when": ["true", "not false"]},
        {**NEVER, "when": "false"},
    ],
    "failure": [FIRST, {REQUIRE: {"rules": [{**RULE, "that": "false"}]}}, NEVER],
    "error": [GREEN, FIRST, NEVER],
    "none": [{}],
    "two": [{"a": {}, "b": {}}],
    "unknown": [{"no.such.action": {}}],
}
"""The steps of one Ansible task each, by the name of the host that runs it."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Run each case on a host of its own, which is this machine; return the ends by case."""
    tasks = [
        {"name": "Do", STEPS: {"steps": steps}, "when": f"inventory_hostname == '{name}'"}
        for name, steps in CASES.items()
    ]
    playbook = tmp_path_factory.mktemp("steps") / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    own = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    output = subprocess.run(
        [program, "-v", "-i", ",".join(CASES), "-c", "local", playbook],
        cwd=PROJECT,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
    ).stdout
    lines = re.finditer(r"^(ok|fatal): \[(\w+)\].*?=> (?=\{)", output, flags=re.MULTILINE)
    return {line[2]: (line[1], json.JSONDecoder().raw_decode(output, line.end())[0]) for line in lines}


def test_a_step_sees_the_facts_of_the_steps_before_it(ended: Ended) -> None:
    status, result = ended["facts"]
    assert (status, result["msg"]) == ("ok", "it is green")


def test_a_step_whose_condition_does_not_hold_is_not_templated(ended: Ended) -> None:
    status, result = ended["conditions"]
    assert (status, result["msg"]) == ("ok", "first")


def test_the_first_failed_step_ends_the_task(ended: Ended) -> None:
    status, result = ended["failure"]
    assert status == "fatal"
    assert result["failed_rules"] == [RULE]
    assert result["msg"] == "Rule: It holds. Found: it does not. Fix: make it hold."
    assert result["other_messages"] == ["first"]


def test_an_error_keeps_the_results_of_the_steps_before_it(ended: Ended) -> None:
    status, result = ended["error"]
    assert status == "fatal"
    assert "nowhere" in result["msg"]
    assert (result["ansible_facts"], result["other_messages"]) == ({"color": "green"}, ["first"])


@pytest.mark.parametrize(("case", "message"), [("none", "has 0"), ("two", "has 2"), ("unknown", "no.such.action")])
def test_a_wrong_step_fails_by_name(ended: Ended, case: str, message: str) -> None:
    status, result = ended[case]
    assert status == "fatal"
    assert message in result["msg"]
