"""Action plugin obproxy_released: checks that the takeover's files are removed and the OBProxy is unchanged."""

from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import is_managed
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_released import DOCUMENTATION


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        if self.is_check_mode:
            return {"changed": False, "msg": "a real run discovers the host again here"}
        found = self.rediscover()["ansible_facts"]["obproxy"]
        self._require_clean(found, arguments["managed_by"])
        before, after = _identity(self.facts), _identity(found)
        if before != after:
            raise FailedRule(
                "The OBProxy is the same process as at the start of the release",
                f"{_description(before)} at the start, {_description(after)} now",
                "find out what has started or ended it, such as a supervisor, then retry",
            )
        return {"changed": False, "msg": f"{_description(after)}; the host has no files of the takeover"}

    def _require_clean(self, found: dict[str, Any], managed_by: str) -> None:
        left = [found["discovery_arguments"]["fact_file"]] if is_managed(found, managed_by) else []
        left += [self.state_file("before")] if found["recorded"] is not None else []
        if left := [*left, *found["leftovers"]]:
            raise FailedRule(
                "The host has no files of the takeover",
                f"{', '.join(left)} exists",
                "retry, because another takeover may have run at the same time, or remove the files",
            )


def _identity(facts: dict[str, Any]) -> tuple[int, int] | None:
    """Return the id and start of the OBProxy's process; None = none runs."""
    process = facts["process"]
    return (process["pid"], process["started"]) if process else None


def _description(identity: tuple[int, int] | None) -> str:
    return f"OBProxy with pid {identity[0]}" if identity else "no running OBProxy"
