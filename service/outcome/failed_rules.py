"""Parses the message of a failed subtask into its failed rules: what each demands, what was found, how to fix it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_START = re.compile(r"(?:[A-Z_]+: )?Rule: ")
_NEXT, _FOUND, _FIX = (re.compile(rf"\s{label}: ") for label in ("Rule", "Found", "Fix"))
_TASK = ' (Ansible task "'


@dataclass(frozen=True, kw_only=True)
class FailedRule:
    """One failed rule."""

    rule: str
    found: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class RuleFailure:
    """The failed rules of a message, and the Ansible task that has checked them (empty = not named)."""

    rules: Sequence[FailedRule]
    task: str


def parse(message: str) -> RuleFailure | None:
    """Return the failed rules of a message; None when it has another form, such as the error of a module.

    The form is `Rule: <rule>. Found: <found>. Fix: <fix>.`, once or more, between an error code and an Ansible task.
    """
    start = _START.match(message)
    if start is None:
        return None
    text, separator, task = message[start.end() :].rpartition(_TASK)
    if not separator:
        text, task = task, ""
    rules = [rule for part in _NEXT.split(text) if (rule := _failed_rule(part))]
    if len(rules) <= len(_NEXT.findall(text)):
        return None
    return RuleFailure(rules=rules, task=f"{_TASK[2:]}{task}".removesuffix(")") if task else "")


def _failed_rule(text: str) -> FailedRule | None:
    rule, *rest = _FOUND.split(text, maxsplit=1)
    found, *fix = _FIX.split(rest[0], maxsplit=1) if rest else ("",)
    return FailedRule(rule=rule.strip(), found=found.strip(), fix=fix[0].strip()) if fix else None
