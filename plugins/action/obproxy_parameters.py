"""Action plugin obproxy_parameters: sets an OBProxy's parameters to the desired values by SQL."""

from dataclasses import replace
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import Result
from ansible_collections.obproxy.takeover.plugins.module_utils.changes import not_restored, parameter_change
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import parameter_drift
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import (
    Difference,
    differences,
    former_values,
    is_synced,
    unknown_names,
    why_not_settable,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.recording import RecordingAction
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import (
    desired_values,
    is_complete,
    with_desired,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_parameters import DOCUMENTATION


class ActionModule(RecordingAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        return self.result_before_start() or self._act(arguments)

    def _act(self, arguments: dict[str, Any]) -> Result:
        facts, desired = self.facts, arguments["desired"]
        notes: list[str] = []
        if is_rollback := arguments["target"] == "former":
            desired, notes = self._former(desired)
        todo = differences(desired, facts["parameters"], facts["restart_parameters"])
        self._require_settable(desired, todo, arguments["allow_restart"] or is_rollback)
        if left_out := sorted(name for name in desired if not is_synced(name)):
            notes.append(f"never synchronised: {', '.join(left_out)}")
        result: Result = {
            "changed": bool(todo),
            "stays": notes if is_rollback else [],
            "msg": "; ".join([_summary(todo), *notes]),
            "diff": {
                "before": "".join(f"{one.name}={one.before}\n" for one in todo),
                "after": "".join(f"{one.name}={one.after}\n" for one in todo),
            },
        }
        if todo and not is_rollback:
            self._record(desired)
        if not todo or self.is_check_mode:
            self.changes += map(parameter_change, todo)
            return result | ({} if self.is_check_mode else {"obproxy_server": self._drift(arguments, {})})
        restart = {one.name for one in todo if one.needs_restart}
        # A process that was not restarted still runs with the former values, so nothing waits for a restart.
        not_restarted = is_rollback and not facts["done"].get("restarted")
        pending = sorted(
            set(facts["pending_restart"]) - restart if not_restarted else {*facts["pending_restart"], *restart}
        )
        stored = self.set_parameters(todo, pending)
        result["obproxy_server"] = {"parameters": stored} | self._drift(arguments, stored)
        self.changes += [parameter_change(replace(one, after=stored[one.name])) for one in todo]
        if pending != facts["pending_restart"]:
            result["ansible_facts"] = {"obproxy": facts | {"pending_restart": pending}}
            result["obproxy_server"] |= {"pending_restart": pending}
        return result

    def _former(self, desired: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the recorded values of parameters that this takeover may have set, and messages about the rest."""
        recorded, now = self.facts["recorded"], self.facts["parameters"]
        if not is_complete(recorded):  # an earlier release wrote incomplete records
            return {}, ["no parameter is restored: the record of the former values is incomplete"]
        former, stays = former_values([*desired_values(recorded), desired], recorded["parameters"], now)
        self.changes += [not_restored(name, now[name]) for name in stays]
        return former, list(stays.values())

    def _record(self, desired: dict[str, Any]) -> None:
        """Add the desired values to the record before they are set; a takeover has done so, a refresh has not.

        A rollback reports a record that an earlier release wrote without parameters.
        """
        known = self.facts["recorded"]
        if (
            known is not None
            and with_desired(known, desired) != known
            and is_complete(whole := self.whole_record(known))
        ):
            self.store_desired(whole, desired)

    def _drift(self, arguments: dict[str, Any], stored: dict[str, str]) -> dict[str, Any]:
        """Return what the parameters' drift is now. A synchronisation accepts the changes that others have made."""
        left = parameter_drift(arguments["desired"], self.facts["parameters"] | stored)
        return {"parameter_drift": left, "is_synchronised": arguments["target"] == "desired"}

    def _require_settable(self, desired: dict[str, Any], todo: list[Difference], allow_restart: bool) -> None:
        """Require that every value can be set; raise FailedRule before anything changes."""
        facts = self.facts
        if absent := unknown_names(desired, facts["parameters"]):
            raise FailedRule(
                "Every desired parameter exists in this OBProxy",
                f"OBProxy {facts['version']} has no {', '.join(absent)}",
                "remove them from the cluster's obproxy_parameters, or upgrade the OBProxy to the cluster's version",
            )
        if problems := [f"{one.name} {why}" for one in todo if (why := why_not_settable(one.after))]:
            raise FailedRule(
                "Every desired value can be set by ALTER PROXYCONFIG",
                f"the value of {'; the value of '.join(problems)}",
                "change obproxy_parameters, or set the value when the OBProxy is started",
            )
        if restart := [one for one in todo if one.needs_restart and not allow_restart]:
            raise FailedRule(
                "No parameter that acts only after a restart differs, unless a restart is permitted",
                "; ".join(f"{one.name} is '{one.before}', desired is '{one.after}'" for one in restart),
                "take the OBProxy over again and permit the restart, which obproxy_allow_restart does for the cluster "
                "or a direct run; or set obproxy_parameters to the OBProxy's values",
            )


def _summary(todo: list[Difference]) -> str:
    return f"{len(todo)} parameters differ: {', '.join(one.name for one in todo)}" if todo else "no parameter differs"
