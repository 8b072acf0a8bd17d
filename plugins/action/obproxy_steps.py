"""Action plugin obproxy_steps: runs several actions one after the other, as one Ansible task."""

from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleValueOmittedError
from ansible.plugins.action import ActionBase
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.nested import nested_action
from ansible_collections.obproxy.takeover.plugins.module_utils.step_results import Result, merged
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_steps import DOCUMENTATION

OPTIONS = argument_spec(DOCUMENTATION)


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible is untyped
    TRANSFERS_FILES = False

    @classmethod
    def finalize_task_arg(cls, name: str, value: Any, templar: Any, context: Any) -> Any:
        """Leave the steps untemplated: each is templated when its turn comes, with the facts of those before it."""
        return value if name == "steps" else super().finalize_task_arg(name, value, templar, context)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        self._variables = dict(task_vars or {})
        self._templar.available_variables = self._variables
        _, arguments = self.validate_argument_spec(OPTIONS)
        results: list[Result] = []
        for step in arguments["steps"]:
            if not self._applies(step):
                continue
            result = self._result(step, results)
            results.append(result)
            if result.get("failed") or result.get("unreachable"):
                break
            facts = self._variables.get("ansible_facts", {}) | result.get("ansible_facts", {})
            self._variables["ansible_facts"] = facts
        return merged(results) if results else {"changed": False, "skipped": True}

    def _applies(self, step: dict[str, Any]) -> bool:
        condition = step.get("when", [])
        conditions = condition if isinstance(condition, list) else [condition]
        return all(self._templar.evaluate_conditional(one) for one in conditions)

    def _result(self, step: dict[str, Any], earlier: list[Result]) -> Result:
        """Run a step and return its result. An error ends the Ansible task, with the results of the earlier steps."""
        try:
            name, arguments = _action_of(step)
            action = nested_action(self, name, self._templated(name, arguments))
            return dict(action.run(task_vars=self._variables))
        except AnsibleError as error:
            if not earlier:
                raise
            failed = {"failed": True, "msg": str(error.message)}
            raise AnsibleActionFail(failed["msg"], obj=step, result=merged([*earlier, failed])) from error

    def _templated(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        action = self._shared_loader_obj.action_loader.get(name, class_only=True)
        if action is None:
            raise AnsibleActionFail(f"there is no action plugin {name}")
        final: dict[str, Any] = {}
        for key, value in arguments.items():
            try:
                final[key] = action.finalize_task_arg(key, value, self._templar, None)
            except AnsibleValueOmittedError:
                continue
        return final


def _action_of(step: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the untemplated arguments of the action of a step."""
    actions = step.keys() - {"when"}
    if len(actions) != 1:
        raise AnsibleActionFail(f"a step has one action, and this one has {len(actions)}", obj=step)
    (name,) = actions
    return name, step[name] or {}
