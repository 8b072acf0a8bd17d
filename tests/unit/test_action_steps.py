"""Several actions as one Ansible task: each sees the facts of those before it, and the first failure ends it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.model.settings import PROJECT

RULE = {"rule": "It holds", "found": "it does not", "fix": "make it hold"}
STEPS = "obproxy.takeover.obproxy_steps"
REQUIRE = "obproxy.takeover.obproxy_require"


def run_steps(directory: Path, *steps: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Run steps on this machine; return the exit status of Ansible and the result of the Ansible task."""
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"name": "Do", STEPS: {"steps": list(steps)}}]}
    playbook = directory / "play.yml"
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    own = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-v", "-i", "localhost,", "-c", "local", playbook],
        cwd=PROJECT,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
    )
    start = done.stdout.index("=> {") + len("=> ")
    return done.returncode, json.JSONDecoder().raw_decode(done.stdout[start:])[0]


def test_a_step_sees_the_facts_of_the_steps_before_it(tmp_path: Path) -> None:
    code, result = run_steps(
        tmp_path,
        {"ansible.builtin.set_fact": {"color": "green", "cacheable": True}},
        {REQUIRE: {"rules": [{**RULE, "that": "ansible_facts.color == 'green'"}], "success": "it is green"}},
    )
    assert (code, result["msg"]) == (0, "it is green")


def test_a_step_whose_condition_does_not_hold_is_not_templated(tmp_path: Path) -> None:
    code, result = run_steps(
        tmp_path,
        {REQUIRE: {"rules": [], "rules_from": [], "success": "first"}, "when": ["true", "not false"]},
        {REQUIRE: {"rules": [], "success": "{{ nowhere }}"}, "when": "false"},
    )
    assert (code, result["msg"]) == (0, "first")


def test_the_first_failed_step_ends_the_task(tmp_path: Path) -> None:
    code, result = run_steps(
        tmp_path,
        {REQUIRE: {"rules": [], "success": "first"}},
        {REQUIRE: {"rules": [{**RULE, "that": "false"}]}},
        {REQUIRE: {"rules": [], "success": "{{ nowhere }}"}},
    )
    assert code == 2
    assert result["failed_rules"] == [RULE]
    assert result["msg"] == "Rule: It holds. Found: it does not. Fix: make it hold."
    assert result["other_messages"] == ["first"]


def test_an_error_keeps_the_results_of_the_steps_before_it(tmp_path: Path) -> None:
    code, result = run_steps(
        tmp_path,
        {"ansible.builtin.set_fact": {"color": "green", "cacheable": True}},
        {REQUIRE: {"rules": [], "success": "first"}},
        {REQUIRE: {"rules": [], "success": "{{ nowhere }}"}},
    )
    assert code == 2
    assert "nowhere" in result["msg"]
    assert (result["ansible_facts"], result["other_messages"]) == ({"color": "green"}, ["first"])


@pytest.mark.parametrize(
    ("step", "message"),
    [({}, "has 0"), ({"a": {}, "b": {}}, "has 2"), ({"no.such.action": {}}, "no.such.action")],
    ids=["none", "two", "unknown"],
)
def test_a_wrong_step_fails_by_name(tmp_path: Path, step: dict[str, Any], message: str) -> None:
    code, result = run_steps(tmp_path, step)
    assert code == 2
    assert message in result["msg"]
