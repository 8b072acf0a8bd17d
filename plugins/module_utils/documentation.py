"""Reads the options of a module from its documentation, the only place where they stand."""

from typing import Any

import yaml

_SPEC = ("type", "elements", "default", "required", "choices", "no_log", "aliases")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def argument_spec(documentation: str) -> dict[str, Any]:
    """Return the argument spec of a module: what Ansible validates in the options that `documentation` lists."""
    options = yaml.load(documentation, Loader=_Loader)["options"]  # noqa: S506 - a safe loader, in C where there is one
    return {name: {key: value for key, value in option.items() if key in _SPEC} for name, option in options.items()}
