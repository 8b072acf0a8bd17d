"""Action plugin obproxy_package: checks the OBProxy's package; installs one if none is installed."""

import shlex
from pathlib import Path
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.changes import PRESENT, change
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.shown_text import last_lines
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule, fix_for_root
from ansible_collections.obproxy.takeover.plugins.module_utils.versions import version_of_package
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_package import DOCUMENTATION

_SECONDS = 1800
_HOMES_TIMEOUT = 60  # for what an OBProxy has left in its home
_HOMES = Path("/opt/taobao/install")  # each package has its own directory in it (docs/reference/obproxy.md 0.2)


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        facts, wanted = self.facts, f"{arguments['name']}-{arguments['version']}"
        if arguments["state"] == "absent":
            return self._remove(facts, arguments["name"])
        if len(facts["packages"]) > 1:
            raise FailedRule(
                "At most one OBProxy package is installed",
                ", ".join(facts["packages"]),
                f"remove the unused packages; the running binary belongs to {facts['package'] or 'none of them'}",
            )
        if facts["running"] or facts["packages"]:
            installed = (facts["packages"] or ["no package"])[0]
            message = "; ".join(facts["drift"]) or f"{installed} is installed"
            server = {"package": facts["package"], "drift": facts["drift"]} if facts["running"] else {}
            return {"changed": False, "msg": message, "obproxy_server": server}
        if not arguments["allow"]:
            raise FailedRule(
                "The desired package is installed, or the takeover is permitted to install it",
                f"no OBProxy package is installed, the cluster's package is {wanted}",
                "install it, or permit the takeover to install it with obproxy_allow_start",
            )
        return self._install(arguments, wanted)

    def _install(self, arguments: dict[str, Any], wanted: str) -> Result:
        """Install the package. No OBProxy may run: the package's scripts delete its stored configuration."""
        manager = self.facts["host"]["package_manager"]
        if manager not in ("dnf", "yum"):
            raise FailedRule(
                f"Package {wanted} can be fetched and installed",
                f"the host has neither dnf nor yum ({manager or 'no package manager'})",
                f"install {wanted} by hand",
            )
        if self.is_check_mode:
            self.changes.append(change("package", arguments["name"], None, arguments["version"]))
            return {"changed": True, "msg": f"would install {wanted}"}
        found = self.run_program("homes", {"place": str(_HOMES), "seconds": _HOMES_TIMEOUT})
        if problem := found.get("problem"):
            raise FailedRule(f"Only root can change {_HOMES}", problem, f"chown root: {_HOMES} {_HOMES.parent}")
        self.write_progress(installed=True, homes_before=found["there"])
        # The release ends in the distribution's tag, which the wanted version does not name (docs/reference/obproxy.md
        # 1.1).
        command = f"timeout {_SECONDS} {manager} -y -q install {shlex.quote(wanted + '*')}"
        ended = self.execute(command)
        if ended["rc"] != 0:
            output = last_lines(ended["stderr"] or ended["stdout"])
            raise FailedRule(
                f"Package {wanted} can be fetched and installed",
                f"{manager} ended with {ended['rc']}: {output}",
                fix_for_root(output, "check the host's package repositories", self.facts["host"]),
            )
        self.changes.append(change("package", arguments["name"], None, arguments["version"]))
        return {"changed": True, "msg": f"installed {wanted}", "ansible_facts": self.rediscover()["ansible_facts"]}

    def _remove(self, facts: dict[str, Any], name: str) -> Result:
        """Roll an installation back: remove the package, and the home if the installation created it."""
        package, home = (facts["packages"] or [None])[0], facts["done"].get("removing")
        if not package and not home:
            return {"changed": False, "msg": "no OBProxy package is installed"}
        if self.is_check_mode:
            _require_unused(facts["foreign_processes"])  # an earlier step would stop the takeover's own
            self._report_removal(name, package, home)
            return {"changed": True, "msg": f"would remove {package or home}"}
        _require_unused(self.rediscover()["ansible_facts"]["obproxy"]["proxies"])
        if package:
            home = self._remove_package(facts, str(package))
            self._report_removal(name, package, None)
        removed = [found for found in (package, home) if found]
        if home:
            self._remove_home(str(home), facts["done"])
            self._report_removal(name, None, home)
            self.write_progress(removing=None)
        return {"changed": True, "msg": f"removed {', '.join(removed)}"}

    def _report_removal(self, name: str, package: str | None, home: str | None) -> None:
        """Report a removed package under the name under which its installation was reported."""
        self.changes += [change("package", name, version_of_package(package), None)] if package else []
        self.changes += [change("directory", str(home), PRESENT, None)] if home else []

    def _remove_package(self, facts: dict[str, Any], package: str) -> str | None:
        """Remove the package and return the home to remove after it.

        The home is written to the progress note first, because the run may be killed in between.
        """
        quoted = shlex.quote(package)
        files = str(self.execute(f"rpm -ql {quoted}")["stdout"]).split()
        homes = {str(Path(path).parents[1]) for path in files if path.endswith("/bin/obproxy")}
        before = facts["done"].get("homes_before")
        new = [home for home in homes if before is not None and Path(home).parent == _HOMES and home not in before]
        self.write_progress(removing=next(iter(new), None))
        ended = self.execute(f"timeout {_SECONDS} rpm -e {quoted}")
        if ended["rc"] != 0:
            output = last_lines(ended["stderr"] or ended["stdout"])
            raise FailedRule(
                "The package that the takeover installed can be removed", output, f"remove {package} by hand"
            )
        return next(iter(new), None)

    def _remove_home(self, home: str, done: dict[str, Any]) -> None:
        """Remove logs and stored configuration from the home. Symbolic links are removed, not followed."""
        made = [str(path) for path in (_HOMES, _HOMES.parent) if str(path) not in done["homes_before"]]
        owner = self.facts["discovery_arguments"]["user"]
        request = {"home": home, "owner": owner, "made": made, "seconds": _HOMES_TIMEOUT}
        if problem := self.run_program("homes", request).get("problem"):
            raise FailedRule(
                "The files of the removed package's OBProxy can be removed", problem, f"remove {home} by hand"
            )


def _require_unused(running: list[str]) -> None:
    """Require that no OBProxy runs, at whatever port; raise FailedRule with their descriptions."""
    if running:
        raise FailedRule(
            "No OBProxy of the package runs", "; ".join(running), "roll the start back too, or stop the OBProxy"
        )
