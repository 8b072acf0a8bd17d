"""Finds changes of an OBProxy that were not made through the service: what two discoveries found differs (pure).

The result of a run stores the values that it has set. So another value in a discovery is a change by someone else.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OF_SERVER = {
    "version": "version",
    "package": "package",
    "home": "home",
    "owner": "owner",
    "supervised": "supervisor",
    "pid": "process",
}
"""Server facts that are compared, and what each change is called."""
MOVING = frozenset({"current_local_config_version", "proxy_local_cmd"})
"""Parameters that an OBProxy sets itself (docs/reference/obproxy.md 5.2)."""
MAX_CHANGES = 500
OBPROXY = "obproxy"

Change = dict[str, Any]


def compared(
    former: Mapping[str, Any], former_parameters: Mapping[str, str], found: Mapping[str, Any], seen: str
) -> list[Change]:
    """Return the changes between the stored server facts and those of a discovery, made at `seen` or before."""
    changes = [
        _change(what, OBPROXY, _text(key, former[key]), _text(key, found[key]), seen)
        for key, what in OF_SERVER.items()
        if key in former and key in found and former[key] != found[key]
    ]
    values, definitions = found.get("parameters", {}), found.get("parameter_definitions", {})
    changes += [
        _change("parameter", name, former_parameters[name], values[name], seen)
        for name in sorted(values.keys() & former_parameters.keys())
        if values[name] != former_parameters[name] and name not in MOVING and not _is_read_only(definitions, name)
    ]
    return changes


def added(known: Iterable[Change], changes: Iterable[Change]) -> Sequence[Change]:
    """Return the known changes with newer ones. A value that is what it was at first is no change any more."""
    by_name = {(change["what"], change["name"]): change for change in known}
    for change in changes:
        key = change["what"], change["name"]
        by_name[key] = by_name.get(key, change) | {"after": change["after"], "seen": change["seen"]}
    return [change for change in by_name.values() if change["before"] != change["after"]][:MAX_CHANGES]


def _change(what: str, name: str, before: str | None, after: str | None, seen: str) -> Change:
    return {"what": what, "name": name, "before": before, "after": after, "seen": seen}


def _text(key: str, value: object) -> str | None:
    match key, value:
        case _, None:
            return None
        case "supervised", _:
            return "supervised" if value else "not supervised"
        case "pid", _:
            return f"pid {value}"
    return str(value)


def _is_read_only(definitions: Mapping[str, Sequence[Any]], name: str) -> bool:
    return name in definitions and bool(definitions[name][3])
