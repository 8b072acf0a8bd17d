"""Action plugin obproxy_require: checks rules over the facts; reports Rule, Found and Fix of each failed rule."""

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.findings import findings, is_requested
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule, message_of
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_require import DOCUMENTATION

OPTIONS = argument_spec(DOCUMENTATION)


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible is untyped
    TRANSFERS_FILES = False
    _requires_connection = False

    @classmethod
    def finalize_task_arg(cls, name: str, value: Any, templar: Any, context: Any) -> Any:
        """Leave the rules untemplated, as ansible.builtin.assert does with `that`.

        The text `found` of a rule may not be computable while the rule holds.
        """
        return value if name == "rules" else super().finalize_task_arg(name, value, templar, context)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(OPTIONS, required_one_of=[["rules", "rules_from"]])
        rules = arguments["rules"] + [rule for name in arguments["rules_from"] for rule in self._rules_of(name)]
        failed = [rule for rule in map(self._failed, rules) if rule]
        if failed and self._task.check_mode and is_requested(task_vars or {}, self._templar):
            return findings((task_vars or {})["ansible_facts"]["obproxy"], failed)
        if failed:
            return {"failed": True, "msg": message_of(failed), "failed_rules": [rule.as_data() for rule in failed]}
        result: dict[str, Any] = {
            "changed": False,
            "msg": arguments["success"] or f"all {len(rules)} rules hold",
        }
        if arguments["obproxy_server"] is not None:
            result["obproxy_server"] = arguments["obproxy_server"]
        return result

    def _rules_of(self, name: str) -> list[dict[str, Any]]:
        """Return the untemplated rules of a file in the role's directory `rules`."""
        path = self._find_needle("rules", name)
        return list(self._loader.load_from_file(path, trusted_as_template=True))

    def _failed(self, rule: dict[str, Any]) -> FailedRule | None:
        if missing := {"rule", "that", "found", "fix"} - rule.keys():
            raise AnsibleActionFail(f"a rule lacks {', '.join(sorted(missing))}", obj=rule)
        conditions = rule["that"] if isinstance(rule["that"], list) else [rule["that"]]
        if all(self._templar.evaluate_conditional(condition) for condition in conditions):
            return None
        # Line ends of a template are not part of its text.
        texts = (str(self._templar.template(rule[key])) for key in ("rule", "found", "fix"))
        return FailedRule(*(" ".join(text.split()) for text in texts))
