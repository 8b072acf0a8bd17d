"""The sources of an inventory that no plugin of Ansible could read, and which of them are serious."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.model.errors import InventoryUnreadable

INVENTORY_SUFFIXES = (".yml", ".yaml", ".json", ".ini", ".toml")
_YAML = (".yml", ".yaml", ".json")
_BESIDE_THE_POINT = ("no root 'plugin' key found", "Plugin configuration YAML file, not YAML inventory")


class Unparsed:
    """Stands for Ansible's display while sources are parsed, and collects what it is told instead of printing it."""

    def __init__(self, display: Any, source: Path) -> None:
        self._display = display
        self._source = source
        self._failures: list[tuple[str, Exception]] = []
        self._serious: list[str] = []
        self._nothing_parsed = False
        self.warnings: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._display, name)

    def error_as_warning(self, msg: str, exception: Exception) -> None:
        """Keep why one plugin could not read a source."""
        self._failures.append((msg, exception))

    def warning(self, msg: str, *_: Any, **__: Any) -> None:
        """Keep a warning; the one that a source could not be read comes after the reasons of all plugins."""
        path = msg.removeprefix("Unable to parse ").removesuffix(" as an inventory source")
        if msg.startswith("No inventory was parsed"):
            self._nothing_parsed = True
        elif f"Unable to parse {path} as an inventory source" != msg:
            self.warnings.append(msg)
        elif self._failures or not Path(path).is_dir():
            text = f"{path}: {explain(path, self._failures)}"
            (self._serious if is_serious(path, self._source) else self.warnings).append(text)
            self._failures = []

    def raise_when_serious(self) -> None:
        """Raise InventoryUnreadable when a source is missing that looks like a part of an inventory, or all are."""
        if self._serious or self._nothing_parsed:
            reasons = self._serious or self.warnings or [f"{self._source}: no host or group was found in it"]
            raise InventoryUnreadable(reason="; ".join(reasons))


def is_serious(path: str, source: Path) -> bool:
    """Whether a file was meant as an inventory: the only one, or its name or its mode says so."""
    is_program = os.access(path, os.X_OK) and Path(path).is_file()
    return Path(path) == source or path.endswith(INVENTORY_SUFFIXES) or is_program


def explain(path: str, failures: Sequence[tuple[str, Exception]]) -> str:
    """Return the reason of the plugin that the file was meant for, of all that have tried."""
    told = {msg.split("'")[1]: error for msg, error in failures if "'" in msg}
    candidates = {name: error for name, error in told.items() if not _is_beside_the_point(error)}
    if os.access(path, os.X_OK) and "script" in candidates:
        order = ["script"]
    elif path.endswith(_YAML):
        order = ["yaml", "auto"]
    else:
        order = ["ini", "toml"]
    chosen = next((candidates[name] for name in order if name in candidates), None)
    chosen = chosen or next(iter(candidates.values()), None) or next(iter(told.values()), None)
    return _text(chosen) if chosen else "no inventory plugin can read it"


def _is_beside_the_point(error: Exception) -> bool:
    return any(words in str(error) for words in _BESIDE_THE_POINT)


def _text(error: Exception) -> str:
    """Return message, line, and what the program said that was to print the inventory."""
    said = str(getattr(error, "_help_text", None) or "").strip()
    tag = getattr(error, "obj", None)
    line = getattr(tag, "line_num", None)
    place = f"line {line}: " if line else ""
    message = f"{place}{str(error).strip().removesuffix('.')}"
    return f"{message}. {' '.join(said.split())}" if said else message
