"""Action plugin obproxy_package: judges the OBProxy's package; installs one where there is none."""

import shlex
from pathlib import Path
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule, fix_for_root
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_package import DOCUMENTATION

_SECONDS = 1800
_HOMES = Path("/opt/taobao/install")  # each package has its own directory in it (docs/reference/obproxy.md 0.2)


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        facts, wanted = self.facts, f"{arguments['name']}-{arguments['version']}"
        if arguments["state"] == "absent":
            return self._remove(facts)
        if len(facts["packages"]) > 1:
            raise FailedRule(
                "Only one OBProxy package is installed",
                ", ".join(facts["packages"]),
                f"remove the ones that do not run; the running binary belongs to {facts['package'] or 'none of them'}",
            )
        if facts["running"] or facts["packages"]:
            told = "; ".join(facts["drift"]) or f"{(facts['packages'] or ['no package'])[0]} is there"
            server = {"package": facts["package"], "drift": facts["drift"]} if facts["running"] else {}
            return {"changed": False, "msg": told, "obproxy_server": server}
        if not arguments["allow"]:
            raise FailedRule(
                "The wanted package is installed, or may be installed",
                f"no OBProxy package is on the host, the cluster wants {wanted}",
                "install it, or allow the takeover to do so with obproxy_allow_start",
            )
        return self._install(wanted)

    def _install(self, wanted: str) -> Result:
        """Never reached with a live OBProxy: the package's pre-script would wipe its stored configuration."""
        manager = self.facts["host"]["package_manager"]
        if manager not in ("dnf", "yum"):
            raise FailedRule(
                f"Package {wanted} can be fetched and installed",
                f"the host has neither dnf nor yum ({manager or 'no package manager'})",
                f"install {wanted} by hand",
            )
        if self.checking:
            return {"changed": True, "msg": f"would install {wanted}"}
        there = self.execute(f"ls -d {_HOMES.parent} {_HOMES} {_HOMES}/*")["stdout"].split()
        self.note_done(installed=True, homes_before=there)
        # The release ends in the distribution's tag, which the wanted version does not name (docs/reference/obproxy.md
        # 1.1).
        command = f"timeout {_SECONDS} {manager} -y -q install {shlex.quote(wanted + '*')}"
        ended = self.execute(command)
        if ended["rc"] != 0:
            said = (ended["stderr"] or ended["stdout"]).strip()[-500:]
            raise FailedRule(
                f"Package {wanted} can be fetched and installed",
                f"{manager} ended with {ended['rc']}: {said}",
                fix_for_root(said, "look at the host's package repositories", self.facts["host"]),
            )
        return {"changed": True, "msg": f"installed {wanted}", "ansible_facts": self.rediscover()["ansible_facts"]}

    def _remove(self, facts: dict[str, Any]) -> Result:
        """For the rollback of an install: takes the one package away again, and what its OBProxy has left in a home
        that was not there before."""
        package, home = (facts["packages"] or [None])[0], facts["done"].get("removing")
        if not package and not home:
            return {"changed": False, "msg": "no OBProxy package is installed"}
        if self.checking:
            return {"changed": True, "msg": f"would remove {package or home}"}
        if package:
            home = self._remove_package(facts, str(package))
        removed = [found for found in (package, home) if found]
        if home:
            self._remove_home(str(home), facts["done"])
            self.note_done(removing=None)
        return {"changed": True, "msg": f"removed {', '.join(removed)}"}

    def _remove_package(self, facts: dict[str, Any], package: str) -> str | None:
        """The home that has to go with it, which is noted before: the run may be ended in between."""
        if running := self.rediscover()["ansible_facts"]["obproxy"]["process"]:
            raise FailedRule(
                "No OBProxy runs whose package is to be removed",
                f"pid {running['pid']} listens on port {facts['sql_port']}",
                "roll the start back too, or stop it",
            )
        quoted = shlex.quote(package)
        files = str(self.execute(f"rpm -ql {quoted}")["stdout"]).split()
        homes = {str(Path(path).parents[1]) for path in files if path.endswith("/bin/obproxy")}
        before = facts["done"].get("homes_before")
        new = [home for home in homes if before is not None and Path(home).parent == _HOMES and home not in before]
        self.note_done(removing=next(iter(new), None))
        ended = self.execute(f"timeout {_SECONDS} rpm -e {quoted}")
        if ended["rc"] != 0:
            said = (ended["stderr"] or ended["stdout"]).strip()[-500:]
            raise FailedRule(
                "The package that the takeover installed can be removed", said, f"remove {package} by hand"
            )
        return next(iter(new), None)

    def _remove_home(self, home: str, done: dict[str, Any]) -> None:
        """What the package does not know: logs, the stored configuration. Links are removed, not followed."""
        made = [str(path) for path in (_HOMES, _HOMES.parent) if str(path) not in done["homes_before"]]
        rest = f"; rmdir --ignore-fail-on-non-empty {' '.join(made)} 2>/dev/null" if made else ""
        ended = self.execute(f"rm -rf --one-file-system -- {shlex.quote(home)}{rest}; test ! -e {shlex.quote(home)}")
        if ended["rc"] != 0:
            said = (ended["stderr"] or ended["stdout"]).strip()[-500:]
            raise FailedRule(
                "What the removed package's OBProxy has left can be removed", said, f"remove {home} by hand"
            )
