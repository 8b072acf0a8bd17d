"""Parsing of the messages of failed subtasks into rule, found and fix."""

import pytest

from service.outcome import failed_rules
from service.outcome.failed_rules import FailedRule, RuleFailure

DISK = FailedRule(rule="the disk has 1 GiB free.", found="0.2 GiB.", fix="remove old logs.")
USER = FailedRule(rule="the user exists.", found="no user.", fix="create it (see useradd).")
TASK = 'Ansible task "Check: Rule: x", role check_host, host odp-1'


def text(rule: FailedRule) -> str:
    return f"Rule: {rule.rule} Found: {rule.found} Fix: {rule.fix}"


@pytest.mark.parametrize("code", ["", "TASK_FAILED: ", "UNREACHABLE: "])
@pytest.mark.parametrize("separator", [" ", "\n\n"], ids=["space", "lines"])
@pytest.mark.parametrize("task", ["", TASK], ids=["bare", "task"])
def test_a_message_is_split_into_its_rules(code: str, separator: str, task: str) -> None:
    message = f"{code}{text(DISK)}{separator}{text(USER)}" + (f" ({task})" if task else "")

    assert failed_rules.parse(message) == RuleFailure(rules=[DISK, USER], task=task)


def test_the_labels_may_appear_again_in_what_was_found_and_in_the_fix() -> None:
    rule = FailedRule(rule="a.", found="x Found: y.", fix="b. Fix: c.")

    assert failed_rules.parse(text(rule)) == RuleFailure(rules=[rule], task="")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "TASK_FAILED: The disk is full.",
        f"Rejected. {text(DISK)}",
        f"{text(DISK)} Rule: the user exists. Found: no us …",
        "Rule: a. Fix: b.",
    ],
)
def test_another_message_has_no_rules(message: str) -> None:
    assert failed_rules.parse(message) is None


def test_a_long_message_without_a_fix_has_no_rules() -> None:
    found = "Found: " * 20_000

    assert failed_rules.parse(f"Rule: a. Found: {found}") is None
