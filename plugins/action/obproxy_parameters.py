"""Action plugin obproxy_parameters: brings an OBProxy's parameters to the wished values by SQL."""

from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import (
    Difference,
    differences,
    is_synced,
    undoing,
    unknown,
    why_not_settable,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import is_whole, wishes
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_parameters import DOCUMENTATION


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        return self.not_yet() or self._act(arguments)

    def _act(self, arguments: dict[str, Any]) -> Result:
        facts, wished = self.facts, arguments["wished"]
        notes: list[str] = []
        if backwards := arguments["target"] == "former":
            wished, notes = _former(facts, wished)
        todo = differences(wished, facts["parameters"], facts["restart_parameters"])
        self._require_settable(wished, todo, arguments["allow_restart"] or backwards)
        if left_out := sorted(name for name in wished if not is_synced(name)):
            notes.append(f"never the same for all: {', '.join(left_out)}")
        result: Result = {
            "changed": bool(todo),
            "stays": notes if backwards else [],
            "msg": "; ".join([_summary(todo), *notes]),
            "diff": {
                "before": "".join(f"{one.name}={one.before}\n" for one in todo),
                "after": "".join(f"{one.name}={one.after}\n" for one in todo),
            },
        }
        if not todo or self.checking:
            return result
        restart = {one.name for one in todo if one.needs_restart}
        # Going back to what a process that was not restarted runs with anyway, nothing waits any more.
        unmoved = backwards and not facts["done"].get("restarted")
        pending = sorted(set(facts["pending_restart"]) - restart if unmoved else {*facts["pending_restart"], *restart})
        result["obproxy_server"] = {"parameters": self.set_parameters(todo, pending)}
        if pending != facts["pending_restart"]:
            result["ansible_facts"] = {"obproxy": facts | {"pending_restart": pending}}
            result["obproxy_server"] |= {"pending_restart": pending}
        return result

    def _require_settable(self, wished: dict[str, Any], todo: list[Difference], allow_restart: bool) -> None:
        """Everything that can be known to go wrong is told before anything changes."""
        facts = self.facts
        if absent := unknown(wished, facts["parameters"]):
            raise FailedRule(
                "Every wished parameter exists in this OBProxy",
                f"OBProxy {facts['version']} has no {', '.join(absent)}",
                "take them out of the cluster's obproxy_parameters, or bring the OBProxy to the cluster's version",
            )
        if problems := [f"{one.name} {why}" for one in todo if (why := why_not_settable(one.after))]:
            raise FailedRule(
                "Every wished value can be set by ALTER PROXYCONFIG",
                f"the value of {'; the value of '.join(problems)}",
                "change obproxy_parameters, or set it when the OBProxy is started",
            )
        if restart := [one for one in todo if one.needs_restart and not allow_restart]:
            raise FailedRule(
                "No parameter that acts only after a restart differs, unless a restart is allowed",
                "; ".join(f"{one.name} is '{one.before}', wished is '{one.after}'" for one in restart),
                "change obproxy_parameters to what the OBProxy has, or allow the restart: allowRestart in the request, "
                "obproxy_allow_restart for the cluster or on a direct run",
            )


def _former(facts: dict[str, Any], wished: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the recorded values of what this takeover may have set, and sentences about those that stay."""
    recorded = facts["recorded"]
    if not is_whole(recorded):  # an earlier release could lose them
        return {}, ["every parameter stays as it is: the record of the former ones is incomplete"]
    return undoing([*wishes(recorded), wished], recorded["parameters"], facts["parameters"])


def _summary(todo: list[Difference]) -> str:
    return f"{len(todo)} parameters differ: {', '.join(one.name for one in todo)}" if todo else "no parameter differs"
