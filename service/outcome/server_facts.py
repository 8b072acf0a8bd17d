"""Validates the server facts in an Ansible result: what a run reports about its OBProxy server.

Server facts come from a managed host. Only known facts of the expected type and size are accepted.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from service.model.fleet import MAX_PORT
from service.outcome import ansible_results

MAX_PARAMETERS = 1000  # of one OBProxy; 4.3.1 has 306
PARAMETERS_LIMIT = 200_000  # characters of all of them; 4.3.1 has 10 000 in names and values, 30 000 in definitions

_PARAMETER = re.compile("[A-Za-z_][A-Za-z0-9_]{0,127}")
_VERSION = re.compile(r"\d+(?:\.\d+){1,5}-\w[\w.]{0,63}")

Validator = Callable[[object], bool]


def validated(event: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the valid server facts of an ok result, and the names of those that are unknown or invalid."""
    res = ansible_results.mapping(ansible_results.mapping(event.get("event_data")).get("res"))
    facts = ansible_results.mapping(res.get("obproxy_server"))
    valid = {name: value for name, value in facts.items() if name in VALIDATORS and VALIDATORS[name](value)}
    return valid, [ansible_results.clean(name, 60) or repr(type(name)) for name in facts if name not in valid]


def whole_number(low: int, high: int) -> Validator:
    """Return a validator of a whole number within limits."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


is_port = whole_number(1, MAX_PORT)


def text(limit: int) -> Validator:
    """Return a validator of a single line of at most `limit` characters, which is not empty."""
    return lambda value: isinstance(value, str) and 0 < len(value) <= limit and _is_single_line(value)


def _is_single_line(value: str) -> bool:
    # A fast path: the parameters of one OBProxy are about a thousand texts, nearly all printable.
    return value.isprintable() or (ansible_results.clean(value, len(value)) == value and "\n" not in value)


def _texts(count: int, limit: int) -> Validator:
    is_text = text(limit)
    return lambda value: isinstance(value, list) and len(value) <= count and all(map(is_text, value))


def _map(is_value: Validator) -> Validator:
    """Return a validator of a mapping by parameter name, of at most `MAX_PARAMETERS` and `PARAMETERS_LIMIT`."""
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= MAX_PARAMETERS
        and all(isinstance(name, str) and _PARAMETER.fullmatch(name) and is_value(of) for name, of in value.items())
        and sum(len(name) + len(str(of)) for name, of in value.items()) <= PARAMETERS_LIMIT
    )


def _value(limit: int) -> Validator:
    return lambda value: isinstance(value, str) and len(value) <= limit and _is_single_line(value)


def _is_definition(value: object) -> bool:
    """Return whether `value` is [description, needs a restart, range, read-only]."""
    if not isinstance(value, list) or len(value) != 4:
        return False
    description, needs_restart, allowed, read_only = value
    flags = isinstance(needs_restart, bool) and isinstance(read_only, bool)
    return flags and _value(1000)(description) and _value(200)(allowed)


def _is_parameter_drift(value: object) -> bool:
    """Return whether `value` is a list of parameters with the expected and the found value."""
    if not isinstance(value, list) or len(value) > MAX_PARAMETERS:
        return False
    is_value = _value(4096)
    return all(
        isinstance(one, dict)
        and one.keys() == {"name", "expected", "found"}
        and isinstance(one["name"], str)
        and _PARAMETER.fullmatch(one["name"])
        and is_value(one["expected"])
        and is_value(one["found"])
        for one in value
    )


VALIDATORS: Mapping[str, Validator] = {
    "pid": whole_number(1, 2**31 - 1),
    "version": lambda value: isinstance(value, str) and bool(_VERSION.fullmatch(value)),
    "architecture": text(32),
    "home": lambda value: isinstance(value, str) and value.startswith("/") and text(4096)(value),
    "owner": text(128),
    "package": lambda value: value is None or text(256)(value),
    "start_mode": lambda value: value in ("config_url", "rs_list"),
    "exporter_port": lambda value: value is None or is_port(value),  # None: the exporter is not registered any more
    "supervised": lambda value: isinstance(value, bool),
    "pending_restart": _texts(500, 128),
    "drift": _texts(100, 2000),
    "parameter_drift": _is_parameter_drift,
    "password_drift": _texts(20, 128),
    "login_error": text(2000),
    "is_rediscovered": lambda value: isinstance(value, bool),
    "is_synchronised": lambda value: isinstance(value, bool),
    "managed_by": text(256),
    "parameters": _map(_value(4096)),
    "parameter_definitions": _map(_is_definition),
}
