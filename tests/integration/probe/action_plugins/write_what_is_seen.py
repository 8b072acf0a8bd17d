"""Action plugin: writes everything that Ansible sees of a host into a file on this machine."""

import json
import urllib.parse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

OTHERWISE = ("hostvars", "vars", "ansible_facts", "omit")


class ActionModule(ActionBase):  # type: ignore[misc]
    """Needs no connection, and records which one Ansible would use."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the file."""
        variables = task_vars or {}
        seen = {
            "variables": {
                name: _value_of(partial(variables.__getitem__, name), self._templar) for name in sorted(variables)
            },
            "hostvars": {host: self._of_host(variables["hostvars"], host) for host in variables["hostvars"]},
            "connection": self._connection_options(),
        }
        name = urllib.parse.quote(variables["inventory_hostname"], safe="")
        path = Path(self._task.args["directory"]) / f"{name}.json"
        path.write_text(json.dumps(seen, default=str, sort_keys=True), encoding="utf-8")
        return {"changed": False}

    def _of_host(self, hostvars: Any, host: str) -> dict[str, Any]:
        known = hostvars[host]
        return {
            name: _value_of(partial(known.__getitem__, name), self._templar)
            for name in sorted(known)
            if name not in OTHERWISE
        }

    def _connection_options(self) -> dict[str, Any]:
        connection = self._connection
        options = {
            name: _value_of(partial(connection.get_option, name), None) for name in connection.option_definitions
        }
        return {"plugin": connection.ansible_name, **options}


def _value_of(get: Callable[[], Any], templar: Any) -> Any:
    try:
        value = get()
        return templar.template(value) if templar else value
    except Exception as error:  # undefined for this host: both ways of running have to say so
        return f"{type(error).__name__}: {error}"
