"""Action plugin obproxy_start: sees that the OBProxy runs; with consent starts one that does not."""

from typing import Any, ClassVar

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import stage_one
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import Broken, remedy

_LOGGED_IN = ("given", "cluster", "empty")


class ActionModule(HostAction):
    OPTIONS: ClassVar[dict[str, Any]] = {
        "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
        "allow": {"type": "bool", "default": False},
        "app_name": {"type": "str", "default": ""},
        "config_server_url": {"type": "str", "default": ""},
        "rs_list": {"type": "str", "default": ""},
        "seconds": {"type": "int", "default": 60},
    }

    def act(self, arguments: dict[str, Any]) -> Result:
        facts = self.facts
        if arguments["state"] == "stopped":
            return self._stop(facts)
        if facts["running"]:
            return self._healthy(facts) | {"changed": False}
        if not arguments["allow"]:
            raise Broken(
                "The OBProxy runs, or may be started",
                f"nothing listens on port {facts['sql_port']}",
                "start it, or allow the takeover to do so with obproxy_allow_start",
            )
        if self.checking:
            return {"changed": True, "msg": "would start the OBProxy"}
        self.note_done(started=True)
        self._start(facts, arguments)
        found = self.rediscover()
        return self._healthy(found["ansible_facts"]["obproxy"]) | {
            "changed": True,
            "ansible_facts": found["ansible_facts"],
            "obproxy_server": found["obproxy_server"],
        }

    def _healthy(self, facts: dict[str, Any]) -> Result:
        """The discovery of this run has just logged in: that is the health check."""
        port = str(facts["sql_port"])
        listen_port = facts["parameters"].get("listen_port", "unknown")
        pending = "listen_port" in facts["pending_restart"]
        if facts["login"] not in _LOGGED_IN or (listen_port != port and not pending):
            raise Broken(
                "The OBProxy answers root@proxysys at its SQL port",
                f"login: {facts['login']} ({facts['login_error'] or 'no error'}), listen_port: {listen_port}",
                "look at log/obproxy.log in the OBProxy's home",
            )
        supervised = "supervised" if facts["supervised"] else "not supervised by a watchdog"
        return {
            "msg": f"pid {facts['process']['pid']} answers at port {port} and is {supervised}",
            "obproxy_server": {"pid": facts["process"]["pid"], "supervised": facts["supervised"]},
        }

    def _start(self, facts: dict[str, Any], arguments: dict[str, Any]) -> None:
        password = self.secrets()["obproxy_sys_password"]
        wanted = {
            "sql_port": facts["sql_port"],
            "package": facts["packages"][0] if facts["packages"] else "",
            "home": (facts["local_fact"] or {}).get("home"),
            # On a command line OBProxy wants the hash (docs/reference/obproxy.md 4.3).
            "options": {"obproxy_sys_password": stage_one(password)} if password is not None else {},
            **{key: arguments[key] for key in ("app_name", "config_server_url", "rs_list", "seconds")},
        }
        if problem := self.on_host("start", wanted).get("problem"):
            usual = "look at log/obproxy.log in its home"
            raise Broken("A stopped OBProxy starts", problem, remedy(problem, usual, facts["host"]))

    def _stop(self, facts: dict[str, Any]) -> Result:
        """Its watchdogs first: they would start it again within a second (docs/reference/obproxy.md trap 14)."""
        if not facts["running"]:
            return {"changed": False, "msg": "it does not run"}
        if not self.checking:
            wanted = {"watchdogs": facts["watchdogs"], "process": facts["process"], "seconds": 30}
            if problem := self.on_host("stop", wanted).get("problem"):
                raise Broken("The OBProxy that the takeover started stops", problem, "stop it by hand")
        return {"changed": True, "msg": f"stopped pid {facts['process']['pid']}"}
