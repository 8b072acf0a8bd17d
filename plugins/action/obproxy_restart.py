"""Action plugin obproxy_restart: restarts an OBProxy, and restores its parameters if the restart fails."""

import time
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.obproxy.takeover.plugins.module_utils import draining
from ansible_collections.obproxy.takeover.plugins.module_utils.action import NO_LOGIN, HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.changes import change, parameter_change, process_change
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import (
    Difference,
    differences,
    is_same_value,
    seconds_of,
    why_not_settable,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.restart import BESIDES_STARTS
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Session, SqlError
from ansible_collections.obproxy.takeover.plugins.module_utils.supervisors import Supervisor, supervisor_of
from ansible_collections.obproxy.takeover.plugins.module_utils.versions import is_older
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_restart import DOCUMENTATION

_HOT_SINCE = "4.0.0"
_COMMAND = "proxy_local_cmd"
_HOT_RESTART, _NOTHING = "2", "0"  # its values
_COMMAND_MARGIN = 10.0  # seconds; a slow host reads the parameter late
_LOGS = "read log/obproxy.log and log/obproxy_diagnosis.log in its home"
_OUTCOMES = {
    "back": "it did not start with them; pid {pid} runs with the former values",
    "down": "it starts neither with them nor with the former values",
    "kept": "the new process ended before it served clients; pid {pid} still serves them, with the former values",
    "stuck": "nothing answered at the port within the time limit; no process was stopped",
}
_OUTCOMES_WITHOUT_PARAMETERS = {
    "back": "it did not start at first; pid {pid} runs",
    "down": "it does not start",
    "kept": "the new process ended before it served clients; pid {pid} still serves them",
    "stuck": _OUTCOMES["stuck"],
}


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)
    _waited = 0.0  # seconds for former processes: one limit for all of them, before and after the restart

    def act(self, arguments: dict[str, Any]) -> Result:
        return self.result_before_start() or self._act(arguments)

    def _act(self, arguments: dict[str, Any]) -> Result:
        facts = self.facts
        if arguments["state"] == "drained":
            return self._drain(arguments["drain_seconds"])
        if arguments["state"] == "restarted":
            return self._act_always(arguments)
        differ = differences(arguments["desired"], facts["parameters"], facts["restart_parameters"])
        todo = [one for one in differ if one.needs_restart]
        names = sorted({*facts["pending_restart"], *(one.name for one in todo)})
        if not names:
            return {"changed": False, "msg": "no parameter needs a restart"}
        if not arguments["allow"]:
            waits = f"these act only after a restart, which is not permitted: {', '.join(names)}"
            return {"changed": False, "msg": waits, "stays": [waits]}
        self._require_reversible(todo)
        self._read_supervision(names)
        return self._act_on(todo, names, arguments)

    def _act_always(self, arguments: dict[str, Any]) -> Result:
        """Restart the OBProxy, unless an earlier run with the same `restart_id` has done so."""
        note, restart_id = self.facts["done"].get("restart", {}), arguments["restart_id"]
        if restart_id and note.get("id") == restart_id and note["process"] != _identity(self.facts["process"]):
            return self._complete_earlier(note["process"], arguments)
        if not arguments["allow"]:
            raise FailedRule(
                "The restart is permitted",
                "obproxy_allow_restart is not true for this host",
                "set obproxy_allow_restart to true, for which a direct run takes -e obproxy_allow_restart=true; a "
                "request of the service only needs that it is not false in the inventory",
            )
        names = self.facts["pending_restart"]
        self._require_reversible([])
        self._read_supervision(names)
        self._require_way(arguments["allow_cold"])
        return self._act_on([], names, arguments)

    def _complete_earlier(self, former: dict[str, Any], arguments: dict[str, Any]) -> Result:
        """Complete a restart that an earlier run has requested, which was ended before it read the effect back.

        While the former process runs, a hot restart can still fail.
        """
        process, is_over = self.facts["process"], former not in map(_identity, self.facts["draining"])
        if is_over or self.is_check_mode:
            return {"changed": False, "msg": f"it was restarted before: pid {process['pid']} runs"}
        self._read_supervision([])
        answer = self._run_restart("hot", former, {}, [], arguments["seconds"])
        if answer["how"] == "kept":
            self._restore_in_old_process([])
        return {"changed": True} | self._read_effect(answer, former, [], {}, arguments["drain_seconds"])

    def _require_way(self, allow_cold: bool) -> None:
        """Require that clients stay connected, or that a restart which disconnects them is permitted."""
        if (way := self._method()) == "hot":
            return
        pid, version = self.facts["process"]["pid"], self.facts["version"] or "without a known version"
        how = f"{self._supervisor.description} restarts it" if way == "supervisor" else "a restart stops it"
        found = f"OBProxy {version} has no hot restart here: {how}, and the clients of pid {pid} are disconnected"
        if not allow_cold:
            raise FailedRule(
                "A restart disconnects no client, unless a cold restart is permitted",
                found,
                "at a time at which its clients may be disconnected, permit it: allowColdRestart in the request, or "
                "obproxy_allow_cold_restart on a direct run",
            )
        Display().display(found)

    def _drain(self, seconds: int) -> Result:
        """Wait until the former processes of earlier restarts have ended."""
        former = self.facts["draining"]
        if not former:
            return {"changed": False, "msg": "no former process of an earlier restart serves clients"}
        if self.is_check_mode:
            return {"changed": False, "msg": f"a real run waits for {len(former)} former processes"}
        self._require_drained(seconds)
        return {"changed": False, "msg": "the former process has ended"} | self.rediscover()

    def _act_on(self, todo: list[Difference], names: list[str], arguments: dict[str, Any]) -> Result:
        facts = self.facts
        self._require_program(facts["process"])
        result: Result = {
            "changed": True,
            "msg": f"a restart applies: {', '.join(names) or 'no parameter'}",
            "diff": {
                "before": "".join(f"{one.name}={one.before}\n" for one in todo),
                "after": "".join(f"{one.name}={one.after}\n" for one in todo),
            },
        }
        if self.is_check_mode:
            self.changes += [*map(parameter_change, todo), process_change(facts["process"], None)]
            # Later Ansible tasks see the parameters as after the restart.
            parameters = facts["parameters"] | {one.name: one.after for one in todo}
            return result | {"ansible_facts": {"obproxy": facts | {"parameters": parameters, "pending_restart": []}}}
        return result | self._restart(todo, names, arguments)

    def _require_reversible(self, todo: list[Difference]) -> None:
        problems = [f"{one.name} {why}" for one in todo if (why := why_not_settable(one.after))]
        problems += [f"the former value of {one.name} {why}" for one in todo if (why := why_not_settable(one.before))]
        problems += [
            f"{one.name} is '{one.before}', which the option -o cannot pass" for one in todo if "," in one.before
        ]
        if self.facts["process"]["exe_deleted"]:
            problems.append(
                f"the running binary {self.facts['process']['exe']} was replaced: a restart would start another one"
            )
        if problems:
            raise FailedRule(
                "A restart can be undone if the new process does not start",
                "; ".join(problems),
                "restart the OBProxy by hand, or remove these from the cluster's obproxy_parameters",
            )

    def _require_program(self, process: dict[str, Any]) -> None:
        """Require that the program starts again, before anything is set or stopped; raise FailedRule."""
        if not self._found["starts"]:
            raise FailedRule(
                "The OBProxy's program can be started again",
                f"the program of pid {process['pid']} ({process['cmdline_start']}) with the option -V fails as "
                f"{process['owner']} in {process['home']}",
                "correct the permissions of the program, or start the OBProxy by hand with the path of its program",
            )

    def _read_supervision(self, names: list[str]) -> None:
        """Read the supervisor of the OBProxy; raise FailedRule if the takeover must not restart an OBProxy under it."""
        process = self.facts["process"]
        self._homes = sorted({process["home"], str(Path(process["exe"]).parent.parent)})
        arguments = {"pid": process["pid"], "home": process["home"], "homes": self._homes}
        self._found = self.run_program("supervision", arguments | {"sql_port": self.facts["sql_port"]})
        if problem := self._found.get("problem"):
            raise FailedRule("The discovered OBProxy still runs", problem, "retry")
        self._supervisor: Supervisor = supervisor_of(self._found)
        if not self._supervisor.may_be_restarted:
            raise FailedRule(
                "An OBProxy that needs a restart has a watchdog, a systemd unit, or no supervisor",
                f"pid {process['pid']} is supervised by {self._supervisor.description}, which starts it its own way"
                + (f"; these act only after a restart: {', '.join(names)}" if names else ""),
                "set them in the supervisor's start command and restart the OBProxy there, or remove them from the "
                "cluster's obproxy_parameters: the rest needs no restart"
                if names
                else "restart the OBProxy through that supervisor",
            )

    def _method(self) -> str:
        if self._supervisor.restarts_itself:
            return "supervisor"
        is_hot = not is_older(self.facts["version"] or "0", _HOT_SINCE) and self._found["starts_without_environment"]
        return "hot" if is_hot else "cold"

    def _restart(self, todo: list[Difference], names: list[str], arguments: dict[str, Any]) -> Result:
        facts, way = self.facts, self._method()
        expected = self._pending_values([name for name in names if name not in {one.name for one in todo}])
        expected |= {one.name: one.after for one in todo}
        self._require_drained(time_to_drain(way, arguments["drain_seconds"], arguments["seconds"]))
        former = {one.name: one.before for one in todo} | facts["done"].get("former", {})
        if arguments["state"] == "restarted":
            former = {}
            note = {"restart": {"id": arguments["restart_id"], "process": _identity(facts["process"])}}
            # A rollback of the values that it applies restarts it too.
            self.write_progress(**note, restarted=bool(names or facts["done"].get("restarted")))
        else:
            note = {}
            self.write_progress(restarted=True, former=former)
        if todo:
            self.set_parameters(todo, names)
            self.changes += map(parameter_change, todo)
        if way == "hot":
            self._request_hot_restart()
        answer = self._run_restart(way, facts["process"], former, names, arguments["seconds"])
        if answer["how"] == "kept":
            self._restore_in_old_process(todo)
            before = facts["done"]
            self.write_progress(**note, restarted=bool(before.get("restarted")), former=before.get("former", {}))
        if answer["how"] in ("kept", "back"):
            self.changes = []
        return self._read_effect(answer, facts["process"], names, expected, arguments["drain_seconds"])

    def _read_effect(
        self, answer: Result, former: dict[str, Any], names: list[str], expected: dict[str, str], drain_seconds: int
    ) -> Result:
        """Require that a restart has succeeded, and return its result; `former` is the process before it."""
        how, pid, left = answer["how"], answer.get("pid"), ""
        if pid not in (None, former["pid"]):
            self.changes.append(process_change(former, pid))
        if how == "down":
            self.changes.append(change("process", "obproxy", f"pid {former['pid']}", None))
        if how in _OUTCOMES:
            outcomes = _OUTCOMES if names else _OUTCOMES_WITHOUT_PARAMETERS
            raise _start_failure(names, outcomes[how].format(pid=pid))
        self._require_supervised_start(answer)
        if how == "hot":
            left = self._wait_until_drained(former, drain_seconds)
        found = self.rediscover()
        self._require_effect(answer, found["ansible_facts"]["obproxy"], expected)
        applied = f": {', '.join(names)}" if names else ""
        done = f"{how} restart, pid {former['pid']} is now {pid}{applied}"
        return {
            "msg": "; ".join(filter(None, [done, left])),
            "ansible_facts": found["ansible_facts"],
            "obproxy_server": found["obproxy_server"],
        }

    def _pending_values(self, names: list[str]) -> dict[str, str]:
        """Return the stored values of parameters that wait for a restart; an earlier role may have set them."""
        if not names:
            return {}
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                return {name: session.parameter(name) or "" for name in names}

    def _wait_until_drained(self, process: dict[str, Any], seconds: float) -> str:
        begun, facts = time.monotonic(), self.facts
        left = draining.wait_until_drained(
            self, process, facts["sql_port"], facts["parameters"], seconds, used=self._waited
        )
        self._waited += time.monotonic() - begun
        return left

    def _require_drained(self, seconds: float) -> None:
        """Wait until the former process of an earlier restart has drained, so that there is never a third process."""
        if left := "; ".join(filter(None, [self._wait_until_drained(one, seconds) for one in self.facts["draining"]])):
            raise FailedRule(
                "An OBProxy is restarted only after its former process has drained",
                left,
                "retry after that process has ended",
            )

    def _run_restart(
        self, way: str, process: dict[str, Any], former: dict[str, str], names: list[str], seconds: int
    ) -> Result:
        facts = self.facts
        interval = seconds_of(facts["parameters"].get("proxy_hot_upgrade_check_interval", ""))
        wanted = {
            "process": _identity(process),
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
            "order_seconds": (interval or 0) + _COMMAND_MARGIN,
        }
        answer = self.run_program("restart", wanted)
        if problem := answer.get("problem"):
            raise _start_failure(names, problem)
        return answer

    def _request_hot_restart(self) -> None:
        """Request a hot restart by SQL, unless an earlier run has. The new process inherits the listening sockets.

        The session is opened before the check, so that no race is possible: a draining process ignores the request,
        and a successor is detected on the host.
        """
        facts = self.facts
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                arguments = {"home": facts["process"]["home"], "sql_port": facts["sql_port"]}
                if self.run_program("answering_process", arguments)["pid"] not in (None, facts["process"]["pid"]):
                    return
                try:
                    if session.parameter(_COMMAND) != _HOT_RESTART:
                        session.alter(_COMMAND, _HOT_RESTART)
                except SqlError as error:
                    raise FailedRule("OBProxy accepts a hot restart", str(error), "look at OBProxy's log") from error

    def _restore_in_old_process(self, todo: list[Difference]) -> None:
        """Restore the former values in the old process, which keeps serving its clients."""
        with self.tunnels() as tunnels:
            _, _, session = self.admin_session(tunnels)
            with session:
                failed = [one for one in todo if not _restore(session, one)]
                self.changes = [*map(parameter_change, failed)]
                if session.parameter(_COMMAND) == _HOT_RESTART:
                    session.alter(_COMMAND, _NOTHING)
        if failed:
            raise FailedRule(
                "The former values are restored after a failed hot restart",
                f"the old process still serves and rejects the former value of {', '.join(one.name for one in failed)}",
                "set them by ALTER PROXYCONFIG before the OBProxy is started again",
            )
        self.remove_pending([one.name for one in todo])

    def _require_supervised_start(self, answer: Result) -> None:
        if answer["problems"]:
            raise FailedRule(
                "A restarted OBProxy has the same program and home, the same ports and the same supervisor",
                f"after the {answer['how']} restart: {'; '.join(answer['problems'])}",
                f"{_LOGS}, and check what starts an OBProxy on this host",
            )

    def _require_effect(self, answer: Result, new: dict[str, Any], expected: dict[str, str]) -> None:
        """Require that the new process runs with the expected values, read directly after its start."""
        how, pid, found = answer["how"], answer["pid"], ""
        if not new["process"]:
            found = f"after the {how} restart nothing listens on port {new['sql_port']}"
        elif new["process"]["pid"] != pid:
            found = f"after the {how} restart pid {new['process']['pid']} is at the port instead of {pid}"
        elif new["login"] in NO_LOGIN:
            found = f"after the {how} restart root@proxysys cannot log in: {new['login_error']}"
        elif differ := [
            f"{name} is '{new['parameters'].get(name)}' instead of '{value}'"
            for name, value in expected.items()
            if not is_same_value(name, new["parameters"].get(name, ""), value)
        ]:
            found = f"{self._supervisor.description} has started pid {pid} with other values: {'; '.join(differ)}"
        if found:
            raise _start_failure(sorted(expected), found)


def time_to_drain(way: str, drain_seconds: float, seconds: float) -> float:
    """Return how long a restart may wait before it begins, so that its undo ends within both limits together.

    Only a hot restart needs one start. A role's limits together are less than the time limit of its subtask.
    """
    return drain_seconds if way == "hot" else max(0, drain_seconds - seconds - BESIDES_STARTS)


def _start_failure(names: list[str], found: str) -> FailedRule:
    if not names:
        return FailedRule("The OBProxy starts again", found, f"{_LOGS}, then retry")
    rule = f"The OBProxy starts with its new values of {', '.join(names)}"
    return FailedRule(rule, found, f"{_LOGS}, then correct obproxy_parameters")


def _identity(process: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a process as long as its host runs."""
    return {key: process[key] for key in ("pid", "started")}


def _restore(session: Session, one: Difference) -> bool:
    """Set the former value and return whether it reads back."""
    try:
        session.alter(one.name, one.before)
        return is_same_value(one.name, session.parameter(one.name) or "", one.before)
    except (SqlError, ValueError):
        return False
