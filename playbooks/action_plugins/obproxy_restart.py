"""Action plugin obproxy_restart: makes parameters act that need a restart, or goes back (see library/)."""

import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))  # Ansible itself does not, on the controller

from obproxy_takeover.action import HostAction, Result
from obproxy_takeover.rules import Broken
from obproxy_takeover.sql import SqlError
from obproxy_takeover.values import Difference, differences, why_not_settable
from obproxy_takeover.versions import is_older

_HOT_SINCE = "4.0.0"
_DRAIN_SECONDS = 60  # hot_upgrade_exit_timeout is 30 s, looked for every 5 s (docs/reference/obproxy.md 5.2)


class ActionModule(HostAction):
    OPTIONS: ClassVar[dict[str, Any]] = {
        "wished": {"type": "dict", "default": {}},
        "allow": {"type": "bool", "default": False},
        "seconds": {"type": "int", "default": 60},
    }

    def act(self, arguments: dict[str, Any]) -> Result:
        return self.not_yet() or self._act(arguments)

    def _act(self, arguments: dict[str, Any]) -> Result:
        facts = self.facts
        differ = differences(arguments["wished"], facts["parameters"], facts["restart_parameters"])
        todo = [one for one in differ if one.needs_restart]
        names = sorted({*facts["pending_restart"], *(one.name for one in todo)})
        if not names:
            return {"changed": False, "msg": "nothing waits for a restart"}
        if not arguments["allow"]:
            waits = f"acts only after a restart, which is not allowed: {', '.join(names)}"
            return {"changed": False, "msg": waits, "stays": [waits]}
        self._require_a_way_back(todo)
        result: Result = {
            "changed": True,
            "msg": f"a restart makes these act: {', '.join(names)}",
            "diff": {
                "before": "".join(f"{one.name}={one.before}\n" for one in todo),
                "after": "".join(f"{one.name}={one.after}\n" for one in todo),
            },
        }
        if self.checking:
            return result
        former = {one.name: one.before for one in todo} | facts["done"].get("former", {})
        self.note_done(restarted=True, former=former)
        if todo:
            self.set_parameters(todo, names)
        how = self._restart(former, arguments["seconds"])
        found = self.rediscover()
        new = found["ansible_facts"]["obproxy"]
        self._require_effect(how, new, names)
        return result | {
            "msg": f"{how} restart, pid {facts['process']['pid']} is now {new['process']['pid']}: {', '.join(names)}",
            "ansible_facts": found["ansible_facts"],
            "obproxy_server": found["obproxy_server"],
        }

    def _require_a_way_back(self, todo: list[Difference]) -> None:
        problems = [f"{one.name} {why}" for one in todo if (why := why_not_settable(one.after))]
        problems += [f"{one.name} is '{one.before}', which -o cannot carry" for one in todo if "," in one.before]
        if self.facts["process"]["exe_deleted"]:
            problems.append(f"the running binary {self.facts['process']['exe']} was replaced: another one would start")
        if problems:
            raise Broken(
                "A restart can be undone when the new process does not come up",
                "; ".join(problems),
                "restart the OBProxy by hand, or take these out of the cluster's obproxy_parameters",
            )

    def _restart(self, former: dict[str, str], seconds: int) -> str:
        facts = self.facts
        hot = not (is_older(facts["version"] or "0", _HOT_SINCE) or facts["process"]["library_path"])
        if hot:
            self._order_hot_restart()
        wanted = {
            "process": {key: facts["process"][key] for key in ("pid", "started", "home")},
            "watchdogs": facts["watchdogs"],
            "hot": hot,
            "sql_port": facts["sql_port"],
            "app_name": facts["parameters"].get("app_name", ""),
            "former": former,
            "seconds": seconds,
            "drain_seconds": _DRAIN_SECONDS,
        }
        answer = self.on_host("restart", wanted)
        return str(answer.get("how") or answer["problem"])

    def _order_hot_restart(self) -> None:
        """The new process gets the listening sockets: no connection is refused, open ones are drained. It finds no
        LD_LIBRARY_PATH, so one that needs it is stopped and started instead (docs/reference/obproxy.md 2.6, trap
        19)."""
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                try:
                    session.alter("proxy_local_cmd", "2")
                except SqlError as error:
                    raise Broken("OBProxy accepts a hot restart", str(error), "look at OBProxy's log") from error

    def _require_effect(self, how: str, new: dict[str, Any], names: list[str]) -> None:
        pid = new["process"]["pid"] if new["process"] else None
        found = {
            "back": f"it did not; the former values are in force again, pid {pid}",
            "down": "neither with them nor with the former values does it come up",
        }.get(how, how if how not in ("hot", "cold") else "")
        if not found and pid is None:
            found = f"after the {how} restart nothing listens on port {new['sql_port']}"
        if not found and new["login"] in ("denied", "unreachable"):
            found = f"after the {how} restart root@proxysys cannot log in: {new['login_error']}"
        if found:
            raise Broken(
                f"The OBProxy comes up with its new values of {', '.join(names)}",
                found,
                "look at log/obproxy.log and log/obproxy_diagnosis.log in its home, then correct obproxy_parameters",
            )
