"""Values of OBProxy parameters: when two spellings mean the same, and what may be sent.

See docs/reference/obproxy.md 5.1, 4.6.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .masking import is_secret

# Per OBProxy server or secret: one cluster-wide value for them would break a proxy (docs/reference/obproxy.md 5.2).
NEVER_SYNCED = frozenset(
    {
        *("listen_port", "prometheus_listen_port", "rpc_listen_port", "proxy_id", "proxy_idc_name"),
        *("local_bound_ip", "local_bound_ipv6_ip", "ip_listen_mode"),
        *("app_name", "current_local_config_version", "proxy_local_cmd", "obproxy_sys_password"),
        *("observer_sys_password", "observer_sys_password1", "inspector_password"),
    }
)
_TRUE = frozenset({"true", "on", "yes", "t", "1"})
_FALSE = frozenset({"false", "off", "no", "f", "0"})
_MICROSECONDS = {"us": 1, "ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_BYTES = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_QUANTITY = re.compile(r"^([+-]?\d+)\s*([A-Za-z]*)$")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
_LONGEST_VALUE = 500  # an ALTER value of 600 bytes is refused with 8007 (docs/reference/obproxy-observed.md)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A parameter whose value is not the wished one."""

    name: str
    before: str
    after: str
    needs_restart: bool


def is_synced(name: str) -> bool:
    """Whether a takeover may set a parameter: it is neither one server's own nor a secret."""
    return name not in NEVER_SYNCED and not is_secret(name)


def text_of(value: object) -> str:
    """A wished value from YAML as OBProxy spells it: booleans in lower case, nothing as the empty string."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def same(name: str, current: str, wished: str) -> bool:
    """Whether two spellings of one parameter's value mean the same.

    A bare number next to "1m" could be minutes or megabytes; such a pair counts as different, which costs one ALTER.
    """
    if current == wished:
        return True
    if name.endswith("log_level"):
        return current.lower() == wished.lower()
    if current in ("True", "False"):
        return wished.lower() in (_TRUE if current == "True" else _FALSE)
    left, right = _QUANTITY.match(current), _QUANTITY.match(wished)
    if not left or not right:
        return False
    units = _units_of(left[2].lower(), right[2].lower())
    if units is None:
        return int(left[1]) == int(right[1]) and left[2].lower() == right[2].lower()
    return _amount(left, units) == _amount(right, units)


def _units_of(*suffixes: str) -> Mapping[str, int] | None:
    """The one family of units that explains all suffixes, None when there is no unit that only it has."""
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
    """Return a duration such as "5s" in seconds, None when it is none."""
    quantity = _QUANTITY.match(value)
    unit = quantity[2].lower() or "s" if quantity else ""
    return int(quantity[1]) * _MICROSECONDS[unit] / 10**6 if quantity and unit in _MICROSECONDS else None


def differences(
    wished: Mapping[str, object], current: Mapping[str, str], need_restart: Iterable[str]
) -> list[Difference]:
    """What has to be set, in the order in which it may be set; names that are never synced are left out.

    `client_session_id_version` comes first: a proxy_id above 255 depends on it (docs/reference/obproxy.md 4.6).
    """
    restart = set(need_restart)
    found = [
        Difference(name=name, before=current[name], after=text_of(value), needs_restart=name in restart)
        for name, value in wished.items()
        if is_synced(name) and name in current and not same(name, current[name], text_of(value))
    ]
    return sorted(found, key=lambda difference: (difference.name != "client_session_id_version", difference.name))


def undoing(
    wishes: Iterable[Mapping[str, object]], before: Mapping[str, str], now: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """What brings back the values from before a takeover: those to set, and sentences about those that stay.

    `wishes` are all that may have been set; a value that is neither that nor the former one is somebody else's.
    """
    former, stays = {}, []
    for name in sorted({name for wish in wishes for name in wish if is_synced(name) and name in before}):
        if name not in now or same(name, now[name], before[name]):
            continue
        if not any(same(name, now[name], text_of(wish[name])) for wish in wishes if name in wish):
            stays.append(f"{name} stays '{now[name]}': somebody has set that since")
        elif why := why_not_settable(before[name]):
            stays.append(f"{name} stays '{now[name]}': its former value {why}")
        else:
            former[name] = before[name]
    return former, stays


def unknown(wished: Mapping[str, object], current: Mapping[str, str]) -> list[str]:
    """Wished names that this OBProxy does not have."""
    return sorted(name for name in wished if name not in current and is_synced(name))


def alter_statement(name: str, value: str) -> str:
    """The one ALTER that sets one parameter.

    Raises ValueError for what OBProxy's grammar cannot carry: a quote or backslash has no escape there.
    """
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not a parameter's name")
    if problem := why_not_settable(value):
        raise ValueError(f"{name} cannot be set: its value {problem}")
    return f"ALTER PROXYCONFIG SET {name} = '{value}'"


def why_not_settable(value: str) -> str | None:
    """What is wrong with a value for ALTER PROXYCONFIG, None when it can be sent."""
    if any(character in value for character in "'\"\\`"):
        return "holds a quote or a backslash, which OBProxy has no way to accept"
    if any(ord(character) < 32 for character in value):
        return "holds a control character"
    if len(value.encode()) > _LONGEST_VALUE:
        return f"is longer than {_LONGEST_VALUE} bytes"
    return None
