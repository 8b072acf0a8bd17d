"""Collects what a discovery of a host finds from the events of its run (pure): its OBProxies, and rules that fail.

The run discovers each OBProxy and then checks rules, so that failed rules belong to the OBProxy before them. Values
come from a managed host: their type, number and size are limited.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from service.model.types import JSON
from service.outcome import ansible_results, failed_rules
from service.outcome.server_facts import is_port, text, whole_number
from service.outcome.verdict import RunEnd

MAX_OBPROXIES = 50  # of one host; a host has one or two
MAX_RULES = 50  # failed rules of one OBProxy
RULE_LIMIT = 2_000  # characters of each part of a rule
MESSAGE_LIMIT = 2_000  # characters of a message

_is_text = text(4096)
_is_pid = whole_number(1, 2**31 - 1)
_TEXTS = (
    *("version", "package", "app_name", "home", "owner", "supervisor", "start_mode", "login"),
    *("managed_by", "managed_cluster"),
)


class Outcome(StrEnum):
    """The outcome of a discovery."""

    DISCOVERED = "DISCOVERED"
    UNREACHABLE = "UNREACHABLE"
    FAILED = "FAILED"


@dataclass(kw_only=True)
class HostFindings:
    """The findings of a discovery so far. `obproxies` are by SQL port; `rules` are failed rules of the host itself."""

    token: int
    obproxies: dict[int, JSON] = field(default_factory=dict)
    rules: list[JSON] = field(default_factory=list)
    outcome: Outcome = Outcome.DISCOVERED
    message: str = ""
    discovered: bool = False  # a result of the discovery has arrived
    _current: int | None = None  # SQL port of the OBProxy that the next failed rules belong to; None = the host

    def add(self, event: Mapping[str, Any]) -> None:
        """Add an event of the run; ignore one that its callback has not written."""
        if not ansible_results.is_authentic(event, self.token):
            return
        res = ansible_results.mapping(ansible_results.mapping(event.get("event_data")).get("res"))
        match event.get("event"):
            case "runner_on_ok" if "obproxy_found" in res:
                self._add_obproxy(ansible_results.mapping(res["obproxy_found"]))
            case "runner_on_ok" if ansible_results.has_findings(event):
                self._add_rules(ansible_results.finding_message(event))
            case "runner_on_unreachable":
                self._fail(Outcome.UNREACHABLE, ansible_results.failure_message(event))
            case "runner_on_failed":
                self._fail(Outcome.FAILED, ansible_results.failure_message(event))

    def finish(self, end: RunEnd) -> None:
        """Add the end of the run: without a result it has failed."""
        if self.outcome is not Outcome.DISCOVERED or (self.discovered and end.rc == 0):
            return
        cause = "killed" if end.rc is None else f"exit status {end.rc}"
        output = f" Its last output: {end.last_lines}" if end.last_lines else ""
        self._fail(Outcome.FAILED, end.start_error or f"The discovery ended without a result ({cause}).{output}")

    def _add_obproxy(self, found: Mapping[str, Any]) -> None:
        self.discovered = True
        self._current = None
        port, pid = found.get("sql_port", 0), found.get("pid")
        if not (is_port(port) and _is_pid(pid)) or len(self.obproxies) >= MAX_OBPROXIES:
            return
        self._current = port
        texts = {name: found[name] if _is_text(found.get(name)) else None for name in _TEXTS}
        self.obproxies[port] = {"sql_port": port, "pid": pid, **texts, "rules": []}

    def _add_rules(self, message: str) -> None:
        rules: list[JSON] = self.rules if self._current is None else self.obproxies[self._current]["rules"]
        rules += _rules(message)
        del rules[MAX_RULES:]

    def _fail(self, outcome: Outcome, message: str) -> None:
        cleaned = ansible_results.clean(message)
        self.outcome = outcome
        self.rules = _rules(cleaned)
        self.message = ansible_results.paragraph(cleaned, MESSAGE_LIMIT)


def _rules(message: str) -> list[JSON]:
    """Return the failed rules of a message; none when it has another form."""
    failure = failed_rules.parse(message)
    rules = [asdict(rule) for rule in failure.rules[:MAX_RULES]] if failure else []
    return [{name: part[:RULE_LIMIT] for name, part in rule.items()} for rule in rules]
