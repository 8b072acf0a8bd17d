"""Compares and validates values of OBProxy parameters.

See docs/reference/obproxy.md 5.1, 4.6.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .masking import is_secret

# Per server: one cluster-wide value would break an OBProxy (docs/reference/obproxy.md 5.2).
NEVER_SYNCED = frozenset(
    {
        *("listen_port", "prometheus_listen_port", "rpc_listen_port", "proxy_id", "proxy_idc_name"),
        *("local_bound_ip", "local_bound_ipv6_ip", "ip_listen_mode"),
        *("app_name", "current_local_config_version", "proxy_local_cmd"),
    }
)
_TRUE = frozenset({"true", "on", "yes", "t", "1"})
_FALSE = frozenset({"false", "off", "no", "f", "0"})
_MICROSECONDS = {"us": 1, "ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_BYTES = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_QUANTITY = re.compile(r"^([+-]?\d{1,20})\s*([A-Za-z]*)$")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
_VALUE_LIMIT = 500  # bytes; ALTER rejects a value of 600 bytes with 8007 (docs/reference/obproxy-observed.md)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A parameter whose value is not the desired one."""

    name: str
    before: str
    after: str
    needs_restart: bool


def is_synced(name: str) -> bool:
    """Return whether a takeover may set a parameter: it is neither per server nor secret."""
    return name not in NEVER_SYNCED and not is_secret(name)


def text_of(value: object) -> str:
    """Return a desired value from YAML as OBProxy spells it: booleans in lower case, null as the empty string."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_same_value(name: str, current: str, desired: str) -> bool:
    """Return whether two spellings of a parameter's value are equal.

    Compared with "1m", a bare number is ambiguous (minutes or megabytes). Such a pair counts as different.
    """
    if current == desired:
        return True
    if name.endswith("log_level"):
        return current.lower() == desired.lower()
    if current in ("True", "False"):
        return desired.lower() in (_TRUE if current == "True" else _FALSE)
    left, right = _QUANTITY.match(current), _QUANTITY.match(desired)
    if not left or not right:
        return False
    units = _unit_family(left[2].lower(), right[2].lower())
    if units is None:
        return int(left[1]) == int(right[1]) and left[2].lower() == right[2].lower()
    return _amount(left, units) == _amount(right, units)


def _unit_family(*suffixes: str) -> Mapping[str, int] | None:
    """Return the unit family of all suffixes, None when it is ambiguous."""
    families = []
    for units, others in ((_MICROSECONDS, _BYTES), (_BYTES, _MICROSECONDS)):
        known = [suffix for suffix in map(_singular, suffixes) if suffix]
        if known and all(suffix in units for suffix in known) and any(suffix not in others for suffix in known):
            families.append(units)
    return families[0] if len(families) == 1 else None


def _singular(suffix: str) -> str:
    return suffix[0] if len(suffix) == 2 and suffix[1] == "b" else suffix  # "mb" is "m"


def _amount(quantity: re.Match[str], units: Mapping[str, int]) -> int:
    default = "s" if units is _MICROSECONDS else "m"
    return int(quantity[1]) * units[_singular(quantity[2].lower()) or default]


def seconds_of(value: str) -> float | None:
    """Return a duration such as "5s" in seconds, None for an invalid one."""
    quantity = _QUANTITY.match(value)
    unit = quantity[2].lower() or "s" if quantity else ""
    return int(quantity[1]) * _MICROSECONDS[unit] / 10**6 if quantity and unit in _MICROSECONDS else None


def differences(
    desired: Mapping[str, object], current: Mapping[str, str], need_restart: Iterable[str]
) -> list[Difference]:
    """Return the parameters to set, in a valid order, without those that are never synchronised.

    `client_session_id_version` comes first: a proxy_id above 255 depends on it (docs/reference/obproxy.md 4.6).
    """
    restart = set(need_restart)
    found = [
        Difference(name=name, before=current[name], after=text_of(value), needs_restart=name in restart)
        for name, value in desired.items()
        if is_synced(name) and name in current and not is_same_value(name, current[name], text_of(value))
    ]
    return sorted(found, key=lambda difference: (difference.name != "client_session_id_version", difference.name))


def former_values(
    desired_values: Iterable[Mapping[str, object]], before: Mapping[str, str], now: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the former values to set, and messages about parameters that are not restored, by name.

    `desired_values` are the values that the takeover may have set. Any other value was set by someone else and stays.
    """
    former, stays = {}, {}
    for name in sorted({name for values in desired_values for name in values if is_synced(name) and name in before}):
        if name not in now or is_same_value(name, now[name], before[name]):
            continue
        if not any(
            is_same_value(name, now[name], text_of(values[name])) for values in desired_values if name in values
        ):
            stays[name] = f"{name} stays '{now[name]}': it was changed after the takeover"
        elif why := why_not_settable(before[name]):
            stays[name] = f"{name} stays '{now[name]}': its former value {why}"
        else:
            former[name] = before[name]
    return former, stays


def unknown_names(desired: Mapping[str, object], current: Mapping[str, str]) -> list[str]:
    """Return the desired names that this OBProxy does not have."""
    return sorted(name for name in desired if name not in current and is_synced(name))


def alter_statement(name: str, value: str) -> str:
    """Return the ALTER statement that sets one parameter.

    Raises ValueError for values that OBProxy's grammar does not allow: it has no escape for quotes and backslashes.
    """
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not a valid parameter name")
    if problem := why_not_settable(value):
        raise ValueError(f"{name} cannot be set: its value {problem}")
    return f"ALTER PROXYCONFIG SET {name} = '{value}'"


def why_not_settable(value: str) -> str | None:
    """Return why ALTER PROXYCONFIG cannot set a value, None when it can."""
    if any(character in value for character in "'\"\\`"):
        return "contains a quote or a backslash, which OBProxy cannot accept"
    if any(ord(character) < 32 for character in value):
        return "contains a control character"
    if len(value.encode()) > _VALUE_LIMIT:
        return f"is longer than {_VALUE_LIMIT} bytes"
    return None
