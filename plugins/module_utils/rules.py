"""Failed rules: each is reported as its rule, what was found, and how to fix it."""

from collections.abc import Mapping, Sequence
from typing import Any


class FailedRule(Exception):
    """A rule that does not hold; ends the Ansible task as failed."""

    def __init__(self, rule: str, found: str, fix: str) -> None:
        super().__init__(rule)
        self.rule, self.found, self.fix = rule, found, fix

    def __str__(self) -> str:
        return f"Rule: {_sentence(self.rule)} Found: {_sentence(self.found)} Fix: {_sentence(self.fix)}"

    def as_data(self) -> dict[str, str]:
        """Return the three parts for machines, as an element of a result's `failed_rules`."""
        return {"rule": self.rule, "found": self.found, "fix": self.fix}


class Unreachable(FailedRule):
    """The host cannot be reached at all; ends the Ansible task as unreachable."""


def fix_for_root(found: str, usual: str, host: Mapping[str, Any]) -> str:
    """Return the fix for an error that root has met: the usual one, or SELinux where it enforces.

    `host` is that of the fact `obproxy`. Only SELinux and file attributes deny root anything.
    """
    denied = "ermission denied" in found or "peration not permitted" in found
    if not (denied and host.get("is_root") and host.get("selinux") == "enforcing"):
        return usual
    return f"check whether SELinux denied the access: ausearch -m avc -ts recent. Otherwise {usual}"


def message_of(failed: Sequence[FailedRule]) -> str:
    """Return the message for several failed rules."""
    return "\n\n".join(map(str, failed))


def _sentence(text: str) -> str:
    return f"{text.strip().rstrip('.')}."
