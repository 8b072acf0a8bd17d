"""The parameters of an OBProxy: what there is, what a value may be, and the values of one instance.

data/parameters.json holds [name, kind, default, need_reboot, visible_level, range, config_level, info] in the order in
which a real 4.3.1 shows them. The kind is inferred from default and range: bool, int, time, size, level (a log level),
text, or the allowed words separated by "|".
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .release import Release

TRUE = {"true", "on", "yes", "t", "1"}
FALSE = {"false", "off", "no", "f", "0"}
LEVELS = {"debug", "trace", "wdiag", "ediag", "info", "warn", "user_err", "error"}
PASSWORDS = ("obproxy_sys_password", "observer_sys_password", "observer_sys_password1")
# Items that were seen not to stand where the reversed order would have them.
_STORED_LAST = ("enable_xa_route", "refresh_json_config", "proxy_info_check_interval")

_TIME = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "": 1_000_000}
_SIZE = {"b": 1, "k": 1 << 10, "m": 1 << 20, "": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_NUMBER = re.compile(r"\s*(-?\d+)\s*([a-z]*)\s*", re.IGNORECASE)


class InvalidValue(Exception):
    """The value is of the wrong kind or out of range: what OBProxy calls Invalid config (4147)."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    name: str
    kind: str
    default: str
    need_reboot: bool
    visible_level: str
    range: str
    config_level: str | None
    info: str

    @property
    def is_virtual(self) -> bool:
        """Only shown: the json_config_* rows stand for the config server's answer."""
        return self.visible_level == "virtual"

    def check(self, value: str) -> str:
        """Return the value in its stored form. Raise InvalidValue."""
        if self.kind == "bool":
            return _boolean(value)
        if self.kind == "level":
            if value.lower() not in LEVELS:
                raise InvalidValue(self.name)
            return value
        if "|" in self.kind and value not in self.kind.split("|"):
            raise InvalidValue(self.name)
        if self.kind in ("int", "time", "size") and not _within(self.range, self.kind, _number(self.kind, value)):
            raise InvalidValue(self.name)
        return value


def _boolean(value: str) -> str:
    if value.lower() in TRUE:
        return "True"
    if value.lower() in FALSE:
        return "False"
    raise InvalidValue(value)


def _number(kind: str, text: str) -> int:
    """Return a number in its smallest unit: microseconds, bytes, or just the number."""
    match = _NUMBER.fullmatch(text)
    if not match:
        raise InvalidValue(text)
    number, unit = int(match[1]), match[2].lower()
    if kind == "int":
        units = {"": 1}
    else:
        units = _TIME if kind == "time" else _SIZE
        unit = unit.removesuffix("b") if kind == "size" and len(unit) == 2 else unit
    if unit not in units:
        raise InvalidValue(text)
    return number * units[unit]


def _within(bounds: str, kind: str, number: int) -> bool:
    if not bounds:
        return True
    low, high = (part.strip() for part in bounds[1:-1].split(","))
    if low and not _compare(_number(kind, low), number, inclusive=bounds[0] == "["):
        return False
    return not high or _compare(number, _number(kind, high), inclusive=bounds[-1] == "]")


def _compare(smaller: int, larger: int, *, inclusive: bool) -> bool:
    return smaller <= larger if inclusive else smaller < larger


def load_definitions(release: Release) -> dict[str, Definition]:
    rows = json.loads((Path(__file__).parent / "data" / "parameters.json").read_text(encoding="utf-8"))
    return {
        name: Definition(
            name=name,
            kind=kind,
            default=release.default(name, default),
            need_reboot=need_reboot == "true",
            visible_level=visible_level,
            range=release.range(name, bounds),
            config_level=config_level,
            info=info,
        )
        for name, kind, default, need_reboot, visible_level, bounds, config_level, info in rows
        if release.knows(name)
    }


class Settings:
    """The current values of one instance, by parameter name."""

    def __init__(self, release: Release) -> None:
        self.definitions = load_definitions(release)
        self._values = {name: definition.default for name, definition in self.definitions.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[tuple[Definition, str]]:
        for name, definition in self.definitions.items():
            yield definition, self._values[name]

    def knows(self, name: str) -> bool:
        return name in self.definitions and not self.definitions[name].is_virtual

    def put(self, name: str, value: str) -> None:
        """Set a checked value. Raise InvalidValue; the name must be known."""
        self._values[name] = self.definitions[name].check(value)

    def put_unchecked(self, name: str, value: str) -> None:
        self._values[name] = value

    def is_on(self, name: str) -> bool:
        return self._values.get(name) == "True"

    def seconds(self, name: str) -> float:
        return _number("time", self._values[name]) / 1_000_000

    def stored(self) -> dict[str, str]:
        """Return the content of the configuration store, in the order of SHOW PROXYCONFIG ALL."""
        values = {d.name: value for d, value in self if not d.is_virtual}
        backwards = [name for name in reversed(values) if name not in _STORED_LAST]
        return {name: values[name] for name in (*backwards, *_STORED_LAST) if name in values}
