"""Action plugin obproxy_parameters: brings an OBProxy's parameters to the wished values by SQL (see library/)."""

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))  # Ansible itself does not, on the controller

from obproxy_takeover.action import HostAction, Result
from obproxy_takeover.rules import Broken
from obproxy_takeover.sql import SqlError, apply
from obproxy_takeover.values import NEVER_SYNCED, Difference, differences, unknown, why_not_settable


class ActionModule(HostAction):
    OPTIONS: ClassVar[dict[str, Any]] = {
        "wished": {"type": "dict", "required": True},
        "allow_restart": {"type": "bool", "default": False},
        "pending_file": {"type": "path"},
    }

    def act(self, arguments: dict[str, Any]) -> Result:
        return self.not_yet() or self._act(arguments)

    def _act(self, arguments: dict[str, Any]) -> Result:
        wished, facts = arguments["wished"], self.facts
        todo = differences(wished, facts["parameters"], facts["restart_parameters"])
        self._require_settable(wished, todo, arguments["allow_restart"])
        left_out = sorted(NEVER_SYNCED & wished.keys())
        result: Result = {
            "changed": bool(todo),
            "msg": _summary(todo, left_out),
            "diff": {
                "before": "".join(f"{one.name}={one.before}\n" for one in todo),
                "after": "".join(f"{one.name}={one.after}\n" for one in todo),
            },
        }
        if todo and not self.checking:
            self._apply(todo)
        pending = sorted({*facts["pending_restart"], *(one.name for one in todo if one.needs_restart)})
        if pending != facts["pending_restart"]:
            self._remember(pending, arguments["pending_file"])
            result["ansible_facts"] = {"obproxy": facts | {"pending_restart": pending}}
            result["obproxy_server"] = {"pending_restart": pending}
        return result

    def _require_settable(self, wished: dict[str, Any], todo: list[Difference], allow_restart: bool) -> None:
        """Everything that can be known to go wrong is told before anything changes."""
        facts = self.facts
        if absent := unknown(wished, facts["parameters"]):
            raise Broken(
                "Every wished parameter exists in this OBProxy",
                f"OBProxy {facts['version']} has no {', '.join(absent)}",
                "take them out of the cluster's obproxy_parameters, or bring the OBProxy to the cluster's version",
            )
        if problems := [f"{one.name} {why}" for one in todo if (why := why_not_settable(one.after))]:
            raise Broken(
                "Every wished value can be set by ALTER PROXYCONFIG",
                f"the value of {'; the value of '.join(problems)}",
                "change obproxy_parameters, or set it when the OBProxy is started",
            )
        if restart := [one for one in todo if one.needs_restart and not allow_restart]:
            raise Broken(
                "No parameter that acts only after a restart differs, unless a restart is allowed",
                "; ".join(f"{one.name} is '{one.before}', wished is '{one.after}'" for one in restart),
                "change obproxy_parameters to what the OBProxy has, or allow the restart with obproxy_allow_restart "
                "(then the values are stored and reported as pending until it is restarted)",
            )

    def _apply(self, todo: list[Difference]) -> None:
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                try:
                    apply(session, todo)
                except SqlError as error:
                    raise Broken(
                        "OBProxy accepts every wished parameter",
                        str(error),
                        "correct the value in the cluster's obproxy_parameters; the values set before it were put back",
                    ) from error

    def _remember(self, pending: list[str], path: str | None) -> None:
        """A value that waits for a restart looks applied in SHOW PROXYCONFIG, so a file keeps it in mind."""
        if path is None:
            return
        note = {"started": self.facts["process"]["started"], "parameters": pending}
        file = {"path": path, "text": json.dumps(note) + "\n", "mode": "0600", "directory_mode": "0700"}
        self.converge("The host remembers which parameters wait for a restart", [file])


def _summary(todo: list[Difference], left_out: list[str]) -> str:
    text = f"{len(todo)} parameters differ: {', '.join(one.name for one in todo)}" if todo else "no parameter differs"
    return f"{text}; never the same for all: {', '.join(left_out)}" if left_out else text
