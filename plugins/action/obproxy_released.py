"""Action plugin obproxy_released: checks that nothing of the takeover is left, and that the OBProxy still runs."""

from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_released import DOCUMENTATION


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        if self.is_check_mode:
            return {"changed": False, "msg": "the host is looked at once more when the release is done"}
        found = self.rediscover()["ansible_facts"]["obproxy"]
        self._require_clean(found, arguments["managed_by"])
        before, after = _identity(self.facts), _identity(found)
        if before != after:
            raise FailedRule(
                "The OBProxy is the process with which the release began",
                f"it was {_said(before)}, it is {_said(after)}",
                "something has started or ended it meanwhile: look at what keeps it alive, then retry",
            )
        return {"changed": False, "msg": f"{_said(after)}; nothing of the takeover is left on the host"}

    def _require_clean(self, found: dict[str, Any], managed_by: str) -> None:
        note = found["local_fact"] or {}
        left = [found["discovery_arguments"]["fact_file"]] if note.get("managed_by") == managed_by else []
        left += [self.state_file("before")] if found["recorded"] is not None else []
        if left := [*left, *found["leftovers"]]:
            raise FailedRule(
                "Nothing of the takeover is left on the host",
                f"{', '.join(left)} exists",
                "another takeover may have run at the same time: retry, or remove the files",
            )


def _identity(facts: dict[str, Any]) -> tuple[int, int] | None:
    """Return the id and start of the OBProxy's process; None = none runs."""
    process = facts["process"]
    return (process["pid"], process["started"]) if process else None


def _said(identity: tuple[int, int] | None) -> str:
    return f"OBProxy with pid {identity[0]}" if identity else "no running OBProxy"
