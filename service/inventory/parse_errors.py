"""Collects the errors of inventory sources that no inventory plugin could parse, and decides which are fatal."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.model.errors import InventoryUnreadable

INVENTORY_SUFFIXES = (".yml", ".yaml", ".json", ".ini", ".toml")
_YAML = (".yml", ".yaml", ".json")
_WRONG_PLUGIN = ("no root 'plugin' key found", "Plugin configuration YAML file, not YAML inventory")


class ParseErrors:
    """Replaces Ansible's `Display` while sources are parsed: collects errors and warnings instead of printing them."""

    def __init__(self, display: Any, source: Path) -> None:
        self._display = display
        self._source = source
        self._failures: list[tuple[str, Exception]] = []
        self._fatal: list[str] = []
        self._nothing_parsed = False
        self.warnings: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._display, name)

    def error_as_warning(self, msg: str, exception: Exception) -> None:
        """Collect the error of one plugin for the current source."""
        self._failures.append((msg, exception))

    def warning(self, msg: str, *_: Any, **__: Any) -> None:
        """Collect a warning. "Unable to parse" follows the errors of all plugins for the same source."""
        path = msg.removeprefix("Unable to parse ").removesuffix(" as an inventory source")
        if msg.startswith("No inventory was parsed"):
            self._nothing_parsed = True
        elif f"Unable to parse {path} as an inventory source" != msg:
            self.warnings.append(msg)
        elif self._failures or not Path(path).is_dir():
            text = f"{path}: {reason(path, self._failures)}"
            (self._fatal if is_fatal(path, self._source) else self.warnings).append(text)
            self._failures = []

    def raise_if_fatal(self) -> None:
        """Raise InventoryUnreadable when a file that is meant as an inventory could not be parsed, or nothing could."""
        if self._fatal or self._nothing_parsed:
            reasons = self._fatal or self.warnings or [f"{self._source}: no host or group was found in it"]
            raise InventoryUnreadable(reason="; ".join(reasons))


def is_fatal(path: str, source: Path) -> bool:
    """Return whether a file is meant as an inventory: it is the source itself, has a known suffix or is executable."""
    is_program = os.access(path, os.X_OK) and Path(path).is_file()
    return Path(path) == source or path.endswith(INVENTORY_SUFFIXES) or is_program


def reason(path: str, failures: Sequence[tuple[str, Exception]]) -> str:
    """Return the error of the plugin that the file was meant for."""
    errors = {msg.split("'")[1]: error for msg, error in failures if "'" in msg}
    candidates = {name: error for name, error in errors.items() if not _is_wrong_plugin(error)}
    if os.access(path, os.X_OK) and "script" in candidates:
        order = ["script"]
    elif path.endswith(_YAML):
        order = ["yaml", "auto"]
    else:
        order = ["ini", "toml"]
    chosen = next((candidates[name] for name in order if name in candidates), None)
    chosen = chosen or next(iter(candidates.values()), None) or next(iter(errors.values()), None)
    return _text(chosen) if chosen else "no inventory plugin can read it"


def _is_wrong_plugin(error: Exception) -> bool:
    return any(text in str(error) for text in _WRONG_PLUGIN)


def _text(error: Exception) -> str:
    """Return line and message, and the output of an inventory script."""
    output = str(getattr(error, "_help_text", None) or "").strip()
    tag = getattr(error, "obj", None)
    line = getattr(tag, "line_num", None)
    place = f"line {line}: " if line else ""
    message = f"{place}{str(error).strip().removesuffix('.')}"
    return f"{message}. {' '.join(output.split())}" if output else message
