"""Reads the parameters of OBProxy servers, as the last takeover or discovery has stored them."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.fleet import clusters
from service.model.fleet import ParameterInfo, ParameterType, ParameterValue, ServerParameter
from service.store.database import fetch
from service.tasks.resources import Resources

_RANGE = re.compile(r"[\[(]\s*([^,]*?)\s*,\s*([^,]*?)\s*[\])]")
_KINDS: Sequence[tuple[ParameterType, re.Pattern[str]]] = (
    ("BOOL", re.compile("true|false", re.IGNORECASE)),
    ("INT", re.compile("[-+]?[0-9]+")),
    ("DOUBLE", re.compile(r"[-+]?[0-9]*\.[0-9]+")),
    ("TIME", re.compile("[0-9]+(?:us|ms|s|m|h|d)")),  # before CAPACITY: `m` is minutes, `M` is megabytes
    ("CAPACITY", re.compile("[0-9]+(?:B|[KMGTP]B?)", re.IGNORECASE)),
)


async def of_cluster(resources: Resources, cluster_id: int) -> list[ServerParameter]:
    """Return the parameters of an OBProxy cluster's servers, by name; raise UnknownCluster."""
    await clusters.get(resources, cluster_id)
    async with resources.database.transaction() as connection:
        rows = await fetch(connection, "parameter_values_of_cluster", cluster_id=cluster_id)
        definition_rows = await fetch(connection, "parameter_definitions_of_cluster", cluster_id=cluster_id)
    definitions: dict[str, list[Any]] = {}
    for row in definition_rows:  # one server per version; the one read last overrides
        definitions |= row["definitions"]
    values: dict[str, list[ParameterValue]] = {}
    for row in rows:
        values.setdefault(row["name"], []).append(ParameterValue(value=row["value"], servers=row["ips"]))
    return [
        ServerParameter(
            name=name,
            description=definitions[name][0] if name in definitions else "",
            needs_restart=name in definitions and definitions[name][1],
            values=values[name],
        )
        for name in sorted(values)
    ]


async def infos(resources: Resources, *, name: str | None = None, version: str | None = None) -> list[ParameterInfo]:
    """Return descriptions of parameters, by version and name, for every version of a known server.

    `version` is a version without its build, or the beginning of one (`4.3` = all of 4.3).
    """
    async with resources.database.autocommit() as connection:
        rows = await fetch(connection, "parameter_definitions_by_version")
    return [
        info
        for row in rows
        if version is None or f"{row['version']}.".startswith(f"{version.partition('-')[0]}.")
        for info in _infos(row["version"], row["definitions"], row["settings"])
        if name is None or info.name == name
    ]


def _infos(version: str, definitions: Mapping[str, list[Any]], settings: Mapping[str, str]) -> Iterator[ParameterInfo]:
    for name, (description, needs_restart, allowed, read_only) in sorted(definitions.items()):
        low, high = bounds(allowed)
        kind = kind_of(settings.get(name, ""), low, high)
        yield ParameterInfo(
            id=_id(version, name),
            name=name,
            version=version,
            type=kind,
            allowed=allowed or "[]",
            minimum="false" if kind == "BOOL" else low,
            maximum="true" if kind == "BOOL" else high,
            needs_restart=needs_restart,
            read_only=read_only,
            description=description,
        )


def bounds(allowed: str) -> tuple[str | None, str | None]:
    """Return the bounds of a range such as `[1s,1h]` or `(128,65535]`; None for a bound that is missing."""
    found = _RANGE.fullmatch(allowed)
    return (found[1] or None, found[2] or None) if found else (None, None)


def kind_of(value: str, low: str | None, high: str | None) -> ParameterType:
    """Return the type of a parameter, derived from its range, else from its value: OBProxy does not report it."""
    texts = [text for text in (low, high) if text and text != "0"] or [value]
    for kind, pattern in _KINDS:
        if all(pattern.fullmatch(text) for text in texts):
            return kind
    return "STRING"


def _id(version: str, name: str) -> int:
    """Return a stable id of a parameter of a version, below 2^48 so that every JSON parser keeps it exact."""
    return int.from_bytes(hashlib.sha256(f"{version} {name}".encode()).digest()[:6])
