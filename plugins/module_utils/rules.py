"""How a prerequisite that does not hold is told: the rule, what was found, what to do."""

from collections.abc import Mapping
from typing import Any


class Broken(Exception):
    """A rule that does not hold; ends the Ansible task as failed."""

    def __init__(self, rule: str, found: str, remedy: str) -> None:
        super().__init__(rule)
        self.rule, self.found, self.remedy = rule, found, remedy

    def __str__(self) -> str:
        return f"{self.rule}: this does not hold.\nFound: {self.found}.\nTo do: {self.remedy}."

    def as_data(self) -> dict[str, str]:
        """The same for machines, in a result's `broken`."""
        return {"rule": self.rule, "found": self.found, "remedy": self.remedy}


class Unreachable(Broken):
    """The host cannot be reached at all; ends the Ansible task as unreachable."""


def remedy(found: str, usual: str, host: Mapping[str, Any]) -> str:
    """What to do about a refusal that root has met; `host` is that of the fact `obproxy`. Nothing but SELinux, or a
    file's attributes, refuses root anything."""
    refused = "ermission denied" in found or "peration not permitted" in found
    if not (refused and host.get("is_root") and host.get("selinux") == "enforcing"):
        return usual
    return f"SELinux is enforcing and has probably refused it, see ausearch -m avc -ts recent; else {usual}"


def told(broken: list[Broken]) -> str:
    """The message for several rules at once."""
    return "\n\n".join(str(one) for one in broken)
