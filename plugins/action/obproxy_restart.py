"""Action plugin obproxy_restart: makes parameters act that need a restart, or goes back."""

from pathlib import Path
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils import draining
from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import (
    Difference,
    differences,
    same,
    seconds_of,
    why_not_settable,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Session, SqlError
from ansible_collections.obproxy.takeover.plugins.module_utils.supervisors import Supervisor, supervisor_of
from ansible_collections.obproxy.takeover.plugins.module_utils.versions import is_older
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_restart import DOCUMENTATION

_HOT_SINCE = "4.0.0"
_ORDER = "proxy_local_cmd"
_HOT_RESTART, _NOTHING = "2", "0"  # its values
_ORDER_MARGIN = 10.0  # seconds, for a host that is slow to look at the order
_LOGS = "look at log/obproxy.log and log/obproxy_diagnosis.log in its home"
_OUTCOMES = {
    "back": "it did not; the former values are in force again, pid {pid}",
    "down": "neither with them nor with the former values does it come up",
    "kept": "the new process has ended before it served; pid {pid} goes on with its clients, and the former values are "
    "in force again",
    "stuck": "within the time limit nothing has answered at the port; nothing was ended",
}


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

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
        self._read_supervision(names)
        result: Result = {
            "changed": True,
            "msg": f"a restart makes these act: {', '.join(names)}",
            "diff": {
                "before": "".join(f"{one.name}={one.before}\n" for one in todo),
                "after": "".join(f"{one.name}={one.after}\n" for one in todo),
            },
        }
        return result if self.checking else result | self._restart(todo, names, arguments)

    def _require_a_way_back(self, todo: list[Difference]) -> None:
        problems = [f"{one.name} {why}" for one in todo if (why := why_not_settable(one.after))]
        problems += [f"the former value of {one.name} {why}" for one in todo if (why := why_not_settable(one.before))]
        problems += [f"{one.name} is '{one.before}', which -o cannot carry" for one in todo if "," in one.before]
        if self.facts["process"]["exe_deleted"]:
            problems.append(f"the running binary {self.facts['process']['exe']} was replaced: another one would start")
        if problems:
            raise FailedRule(
                "A restart can be undone when the new process does not come up",
                "; ".join(problems),
                "restart the OBProxy by hand, or take these out of the cluster's obproxy_parameters",
            )

    def _read_supervision(self, names: list[str]) -> None:
        """Read what keeps the OBProxy alive; raises FailedRule where only that may restart it."""
        process = self.facts["process"]
        self._homes = sorted({process["home"], str(Path(process["exe"]).parent.parent)})
        asked = {"pid": process["pid"], "home": process["home"], "homes": self._homes}
        self._found = self.on_host("supervision", asked | {"sql_port": self.facts["sql_port"]})
        if problem := self._found.get("problem"):
            raise FailedRule("The OBProxy that was discovered still runs", problem, "run it again")
        self._supervisor: Supervisor = supervisor_of(self._found)
        if not self._supervisor.may_be_restarted:
            raise FailedRule(
                "An OBProxy that has to be restarted is started by its watchdog, its systemd unit, or nothing",
                f"pid {process['pid']} is kept alive by {self._supervisor.told}, which starts it in its own way; these "
                f"act only after a restart: {', '.join(names)}",
                "set them where that starts it and restart it there, or take them out of the cluster's "
                "obproxy_parameters: without a restart it can be taken over",
            )

    def _way(self) -> str:
        if self._supervisor.restarts_itself:
            return "supervisor"
        is_hot = not is_older(self.facts["version"] or "0", _HOT_SINCE) and self._found["starts_bare"]
        return "hot" if is_hot else "cold"

    def _restart(self, todo: list[Difference], names: list[str], arguments: dict[str, Any]) -> Result:
        facts, way = self.facts, self._way()
        expected = self._stored([name for name in names if name not in {one.name for one in todo}])
        expected |= {one.name: one.after for one in todo}
        self._require_drained(arguments["drain_seconds"])
        former = {one.name: one.before for one in todo} | facts["done"].get("former", {})
        self.note_done(restarted=True, former=former)
        if todo:
            self.set_parameters(todo, names)
        if way == "hot":
            self._order_hot_restart()
        answer = self._bring_through(way, former, names, arguments["seconds"])
        how, left = answer["how"], ""
        if how == "kept":
            self._go_on_with_former(todo)
        if how in _OUTCOMES:
            raise _does_not_come_up(names, _OUTCOMES[how].format(pid=answer.get("pid")))
        self._require_settled(answer)
        if how == "hot":
            left = self._drained(facts["process"], arguments["drain_seconds"])
        found = self.rediscover()
        self._require_effect(answer, found["ansible_facts"]["obproxy"], expected)
        done = f"{how} restart, pid {facts['process']['pid']} is now {answer['pid']}: {', '.join(names)}"
        return {
            "msg": "; ".join(filter(None, [done, left])),
            "ansible_facts": found["ansible_facts"],
            "obproxy_server": found["obproxy_server"],
        }

    def _stored(self, names: list[str]) -> dict[str, str]:
        """Return the values that wait for a restart, as they are stored by now: a role before may have set them."""
        if not names:
            return {}
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                return {name: session.parameter(name) or "" for name in names}

    def _drained(self, process: dict[str, Any], seconds: int) -> str:
        return draining.wait(self, process, self.facts["sql_port"], self.facts["parameters"], seconds)

    def _require_drained(self, seconds: int) -> None:
        """Wait for a process that still hands over from an earlier restart: there is never a third one."""
        if left := "; ".join(filter(None, [self._drained(one, seconds) for one in self.facts["draining"]])):
            raise FailedRule(
                "An OBProxy is restarted only after its former process has drained",
                left,
                "run it again when that has ended",
            )

    def _bring_through(self, way: str, former: dict[str, str], names: list[str], seconds: int) -> Result:
        facts = self.facts
        interval = seconds_of(facts["parameters"].get("proxy_hot_upgrade_check_interval", ""))
        wanted = {
            "process": {key: facts["process"][key] for key in ("pid", "started")},
            "identity": self._found["identity"],
            "home": facts["process"]["home"],
            "homes": self._homes,
            "way": way,
            "supervisor": {"kind": self._supervisor.kind, "unit": self._supervisor.unit},
            "sql_port": facts["sql_port"],
            "ports": self._found["ports"],
            "app_name": facts["parameters"].get("app_name", ""),
            "former": former,
            "seconds": seconds,
            "order_seconds": (interval or 0) + _ORDER_MARGIN,
        }
        answer = self.on_host("restart", wanted)
        if problem := answer.get("problem"):
            raise _does_not_come_up(names, problem)
        return answer

    def _order_hot_restart(self) -> None:
        """Order it, unless an earlier run has: the new process gets the listening sockets, no connection is refused.

        The session is opened first. If it belongs to a process that hands over by now, the order means nothing to it;
        if it belongs to the successor, the host says so.
        """
        facts = self.facts
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                asked = {"home": facts["process"]["home"], "sql_port": facts["sql_port"]}
                if self.on_host("answering_process", asked)["pid"] not in (None, facts["process"]["pid"]):
                    return
                try:
                    if session.parameter(_ORDER) != _HOT_RESTART:
                        session.alter(_ORDER, _HOT_RESTART)
                except SqlError as error:
                    raise FailedRule("OBProxy accepts a hot restart", str(error), "look at OBProxy's log") from error

    def _go_on_with_former(self, todo: list[Difference]) -> None:
        """Put the former values back in the process that goes on, and leave it and its clients alone."""
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                failed = [one.name for one in todo if not _put_back(session, one)]
                if session.parameter(_ORDER) == _HOT_RESTART:
                    session.alter(_ORDER, _NOTHING)
        if failed:
            raise FailedRule(
                "After a hot restart that has failed, the former values are set again",
                f"the old process goes on and refuses the former value of {', '.join(failed)}",
                "set them by ALTER PROXYCONFIG before the OBProxy is started again",
            )
        self.forget_pending([one.name for one in todo])
        before = self.facts["done"]
        self.note_done(restarted=bool(before.get("restarted")), former=before.get("former", {}))

    def _require_settled(self, answer: Result) -> None:
        if answer["problems"]:
            raise FailedRule(
                "A restarted OBProxy is what it was, listens where it did, and is supervised as before",
                f"after the {answer['how']} restart with its new values: {'; '.join(answer['problems'])}",
                f"{_LOGS}, and at what starts an OBProxy on this host",
            )

    def _require_effect(self, answer: Result, new: dict[str, Any], expected: dict[str, str]) -> None:
        """What a process shows right after its start is what acts in it."""
        how, pid, found = answer["how"], answer["pid"], ""
        if not new["process"]:
            found = f"after the {how} restart nothing listens on port {new['sql_port']}"
        elif new["process"]["pid"] != pid:
            found = f"after the {how} restart pid {new['process']['pid']} is at the port instead of {pid}"
        elif new["login"] in ("denied", "unreachable"):
            found = f"after the {how} restart root@proxysys cannot log in: {new['login_error']}"
        elif differ := [
            f"{name} is '{new['parameters'].get(name)}' instead of '{value}'"
            for name, value in expected.items()
            if not same(name, new["parameters"].get(name, ""), value)
        ]:
            found = f"{self._supervisor.told} has started pid {pid} with other values: {'; '.join(differ)}"
        if found:
            raise _does_not_come_up(sorted(expected), found)


def _does_not_come_up(names: list[str], found: str) -> FailedRule:
    rule = f"The OBProxy comes up with its new values of {', '.join(names)}"
    return FailedRule(rule, found, f"{_LOGS}, then correct obproxy_parameters")


def _put_back(session: Session, one: Difference) -> bool:
    """Set the former value; return whether it reads back."""
    try:
        session.alter(one.name, one.before)
        return same(one.name, session.parameter(one.name) or "", one.before)
    except (SqlError, ValueError):
        return False
