"""Action plugin obproxy_package: judges the OBProxy's package; installs one where there is none (see library/)."""

import shlex
import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))  # Ansible itself does not, on the controller

from obproxy_takeover.action import HostAction, Result
from obproxy_takeover.rules import Broken

_SECONDS = 1800


class ActionModule(HostAction):
    OPTIONS: ClassVar[dict[str, Any]] = {
        "name": {"type": "str", "required": True},
        "version": {"type": "str", "default": ""},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "allow": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, Any]) -> Result:
        facts, wanted = self.facts, f"{arguments['name']}-{arguments['version']}"
        if arguments["state"] == "absent":
            return self._remove(facts)
        if len(facts["packages"]) > 1:
            raise Broken(
                "Only one OBProxy package is installed",
                ", ".join(facts["packages"]),
                f"remove the ones that do not run; the running binary belongs to {facts['package'] or 'none of them'}",
            )
        if facts["running"] or facts["packages"]:
            told = "; ".join(facts["drift"]) or f"{(facts['packages'] or ['no package'])[0]} is there"
            server = {"package": facts["package"], "drift": facts["drift"]} if facts["running"] else {}
            return {"changed": False, "msg": told, "obproxy_server": server}
        if not arguments["allow"]:
            raise Broken(
                "The wanted package is installed, or may be installed",
                f"no OBProxy package is on the host, the cluster wants {wanted}",
                "install it, or allow the takeover to do so with obproxy_allow_start",
            )
        return self._install(wanted)

    def _install(self, wanted: str) -> Result:
        """Never reached with a live OBProxy: the package's pre-script would wipe its stored configuration."""
        manager = self.facts["host"]["package_manager"]
        if manager not in ("dnf", "yum"):
            raise Broken(
                f"Package {wanted} can be fetched and installed",
                f"the host has neither dnf nor yum ({manager or 'no package manager'})",
                f"install {wanted} by hand",
            )
        if self.checking:
            return {"changed": True, "msg": f"would install {wanted}"}
        self.note_done(installed=True)
        # The release ends in the distribution's tag, which the wanted version does not name (facts/obproxy.md 1.1).
        command = f"timeout {_SECONDS} {manager} -y -q install {shlex.quote(wanted + '*')}"
        ended = self.execute(command)
        if ended["rc"] != 0:
            said = (ended["stderr"] or ended["stdout"]).strip()[-500:]
            raise Broken(
                f"Package {wanted} can be fetched and installed",
                f"{manager} ended with {ended['rc']}: {said}",
                "look at the host's package repositories",
            )
        return {"changed": True, "msg": f"installed {wanted}", "ansible_facts": self.rediscover()["ansible_facts"]}

    def _remove(self, facts: dict[str, Any]) -> Result:
        """For the rollback of an install: takes the one package away again."""
        if not facts["packages"]:
            return {"changed": False, "msg": "no OBProxy package is installed"}
        package = facts["packages"][0]
        if not self.checking:
            ended = self.execute(f"timeout {_SECONDS} rpm -e {shlex.quote(package)}")
            if ended["rc"] != 0:
                said = (ended["stderr"] or ended["stdout"]).strip()[-500:]
                raise Broken(
                    "The package that the takeover installed can be removed", said, f"remove {package} by hand"
                )
        return {"changed": True, "msg": f"removed {package}"}
