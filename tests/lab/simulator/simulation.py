"""The switches of the simulation: what it should pretend and how it should misbehave.

A JSON file, by default /etc/obproxy-simulation.json, another one by the environment variable OBPROXY_SIMULATION. It is
read again whenever it has changed, so a test can switch a running proxy. No file means: no observer, no misbehaviour.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

DEFAULT_PATH = "/etc/obproxy-simulation.json"


class Simulation:
    """Switches of the simulated OBProxy.

    - observer: bool; OB clusters can be reached, so ordinary clients are served
    - cluster: str; the OB cluster that the config server names ("obcluster")
    - start_delay: seconds between the start and listening
    - answer_delay: seconds before each answer to a statement
    - die_after: seconds after which the process ends by itself; 0 = never
    - read_only: bool; values cannot be stored, ALTER fails
    - `refuse`: [parameter names] whose ALTER is rejected as invalid
    - fatal: {parameter: value} with which no process starts
    - metrics: status of every answer of the exporter, such as "500 Broken" ("200 OK")
    """

    def __init__(self) -> None:
        self._path = Path(os.environ.get("OBPROXY_SIMULATION", DEFAULT_PATH))
        self._seen: int | None = None
        self._switches: Mapping[str, object] = {}

    def is_on(self, name: str) -> bool:
        return bool(self._current().get(name, False))

    def seconds(self, name: str) -> float:
        value = self._current().get(name, 0)
        return float(value) if isinstance(value, int | float) else 0.0

    def text(self, name: str, default: str) -> str:
        return str(self._current().get(name, default))

    def refuses(self, parameter: str) -> bool:
        names = self._current().get("refuse", [])
        return isinstance(names, list) and parameter in names

    def is_fatal(self, parameter: str, value: str) -> bool:
        values = self._current().get("fatal", {})
        return isinstance(values, dict) and values.get(parameter) == value

    def _current(self) -> Mapping[str, object]:
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._seen:
                self._switches = json.loads(self._path.read_text(encoding="utf-8"))
                self._seen = changed
        except (OSError, ValueError):
            # Absent, or just being written: what was known stays in force.
            return self._switches
        return self._switches
