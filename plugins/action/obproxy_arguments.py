"""Action plugin obproxy_arguments: checks a play's variables by an argument spec; changes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import validate_argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_arguments import DOCUMENTATION

OPTIONS = argument_spec(DOCUMENTATION)


class ActionModule(validate_argument_spec.ActionModule):  # type: ignore[misc] # Ansible is untyped
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Let Ansible's own action check the variables; a variable that cannot be templated is a wrong argument too."""
        _, arguments = self.validate_argument_spec(OPTIONS)
        variables, name = task_vars or {}, arguments["spec"]
        path = Path(variables["playbook_dir"], f"{name}.meta.yml")
        options = self._loader.load_from_file(str(path))["argument_specs"][name]["options"]
        self._task.args = {"argument_spec": options}
        try:
            result = super().run(tmp, variables)
        except AnsibleError as error:
            return {"failed": True, "msg": str(error.message), "argument_errors": [str(error.message)]}
        if result.get("failed"):
            return {key: result[key] for key in ("failed", "msg", "argument_errors")}
        desired = self._templar.template(variables.get("obproxy_parameters"))
        # Ansible also takes null, and text that is JSON.
        if isinstance(desired, Mapping) and (errors := _parameter_errors(desired)):
            return {"failed": True, "msg": "\n".join(errors), "argument_errors": errors}
        return {"changed": False}


def _parameter_errors(desired: Mapping[object, object]) -> list[str]:
    """Return what is wrong with `obproxy_parameters` beyond its type: its names are texts, its values single ones."""
    names = [name for name in desired if not isinstance(name, str)]
    values = [name for name, value in desired.items() if isinstance(value, (Mapping, list))]
    return [f"obproxy_parameters has the name {name}, which is no text. Put it in quotes." for name in names] + [
        f"The value of {name} in obproxy_parameters is a list or mapping. Give one text, number or boolean."
        for name in values
    ]
