"""Groups the failures of many hosts by their reason: the failed subtask, and the failed rules or the error message."""

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from service.outcome import failed_rules
from service.outcome.failed_rules import FailedRule

_ORIGIN = re.compile(r" \(Ansible task \".*")


@dataclass(frozen=True, kw_only=True)
class HostFailure:
    """The failure of one host: its task instance, the failed subtask, and the error message."""

    host_name: str
    task_id: int
    subtask: str
    reason: str

    @property
    def rules(self) -> Sequence[FailedRule]:
        """The failed rules of the error message; empty when it has another form."""
        parsed = failed_rules.parse(self.reason)
        return parsed.rules if parsed else ()


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Hosts that have failed at the same subtask for the same reason.

    `rules` are the failed rules of the first host; what was found may differ from host to host. Without rules,
    `message` is the first line of the error message.
    """

    subtask: str
    message: str
    rules: Sequence[FailedRule]
    hosts: list[HostFailure] = field(default_factory=list)


def group(failures: Iterable[HostFailure]) -> list[FailureGroup]:
    """Return the groups, the largest first."""
    groups: dict[Hashable, FailureGroup] = {}
    for failure in failures:
        rules, message = failure.rules, _first_line(failure)
        key = (failure.subtask, tuple(rule.rule for rule in rules) or message)
        found = groups.setdefault(key, FailureGroup(subtask=failure.subtask, message=message, rules=rules))
        found.hosts.append(failure)
    return sorted(groups.values(), key=lambda found: -len(found.hosts))


def _first_line(failure: HostFailure) -> str:
    """Return the first line of the message, without the Ansible task and without the name of the host."""
    line = _ORIGIN.sub("", failure.reason).partition("\n")[0]
    name = rf"(?<![\w.-]){re.escape(failure.host_name)}(?![\w-]|\.\w)"
    return re.sub(name, "HOST", line)
