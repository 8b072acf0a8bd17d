"""Derives a plugin's argument spec from its documentation."""

from typing import Any

import yaml

_SPEC = ("type", "elements", "default", "required", "choices", "no_log", "aliases")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def argument_spec(documentation: str) -> dict[str, Any]:
    """Return the argument spec for the options in `documentation`."""
    options = yaml.load(documentation, Loader=_Loader)["options"]  # noqa: S506 - a safe loader, in C where there is one
    return {name: {key: value for key, value in option.items() if key in _SPEC} for name, option in options.items()}
