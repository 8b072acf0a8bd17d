"""Action plugin obproxy_start: sees that the OBProxy runs; with consent starts one that does not."""

from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.addresses import named_ports
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import stage_one
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule, fix_for_root
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_start import DOCUMENTATION

_LOGGED_IN = ("given", "cluster", "empty")


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        facts = self.facts
        if arguments["state"] == "stopped":
            return self._stop(facts)
        if facts["running"]:
            return self._healthy(facts) | {"changed": False}
        if not arguments["allow"]:
            raise FailedRule(
                "The OBProxy runs, or may be started",
                f"nothing listens on port {facts['sql_port']}",
                "start it, or allow the takeover to do so with obproxy_allow_start",
            )
        if self.checking:
            return {"changed": True, "msg": "would start the OBProxy"}
        note = self._start(facts, arguments)
        found = self.rediscover()
        self._require_ports(found["ansible_facts"]["obproxy"], note, arguments["seconds"])
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
            raise FailedRule(
                "The OBProxy answers root@proxysys at its SQL port",
                f"login: {facts['login']} ({facts['login_error'] or 'no error'}), listen_port: {listen_port}",
                "look at log/obproxy.log in the OBProxy's home",
            )
        supervised = "supervised" if facts["supervised"] else "not supervised by a watchdog"
        return {
            "msg": f"pid {facts['process']['pid']} answers at port {port} and is {supervised}",
            "obproxy_server": {"pid": facts["process"]["pid"], "supervised": facts["supervised"]},
        }

    def _start(self, facts: dict[str, Any], arguments: dict[str, Any]) -> Result:
        """Start it, a first time with all that it has to be told, and return what was noted down. The note that this
        takeover has started it, and that its first start has not succeeded yet, is written before: a corrected retry
        is a first start again."""
        package = facts["packages"][0] if facts["packages"] else ""
        home, seconds = (facts["local_fact"] or {}).get("home"), arguments["seconds"]
        where = {"sql_port": facts["sql_port"], "package": package, "home": home, "owner": facts["asked"]["user"]}
        plan = self._ask(where | {"seconds": seconds})
        done = facts["done"]
        first = plan["fresh"] or bool(done.get("first_start"))
        if first:
            _require_route(plan, arguments)
        note = {"started": True, "home": plan["home"], "owner": plan["owner"]}
        note["made"] = sorted({*done.get("made", []), *(plan["absent"] if first else [])})
        self.note_done(**note, first_start=first)
        password = self.secrets()["obproxy_sys_password"]
        told = ("app_name", "config_server_url", "rs_list", "rs_cluster_name", "seconds")
        wanted = {
            "first": first,
            "home": plan["home"],
            "owner": plan["owner"],
            "sql_port": facts["sql_port"],
            # On a command line OBProxy wants the hash (docs/reference/obproxy.md 4.3).
            "options": {"obproxy_sys_password": stage_one(password)} if password is not None else {},
        }
        self._ask(wanted | {key: arguments[key] for key in told})
        self.note_done(**note, first_start=False)
        return note | {"first_start": first}

    def _require_ports(self, new: dict[str, Any], note: Result, seconds: int) -> None:
        """Require that it listens wherever its configuration says; otherwise end it, so that a retry opens all ports.

        The host is asked again only where the discovery after the start came too early for a port."""
        process = new["process"]
        missing = sorted(set(named_ports(new["parameters"])) - set(process["ports"] if process else []))
        if not process or not missing:
            return
        found = self.on_host("start", {"pid": process["pid"], "ports": missing, "seconds": seconds})["missing"]
        if not found:
            return
        holder = new["exporter"]["holder"]
        taken = [f"port {new['exporter']['port']} is held by {holder['told']}"] if holder else []
        self.note_done(**note)
        asked = {"home": note["home"], "owner": note["owner"], "made": [], "check": False}
        self.on_host("undo_start", asked | {"sql_port": new["sql_port"], "seconds": 30})
        raise FailedRule(
            "An OBProxy that was started listens at every port that its configuration names",
            "; ".join([found, *taken, "what was started has been ended"]),
            "free the ports, or give it others by prometheus_listen_port and rpc_listen_port",
        )

    def _ask(self, wanted: dict[str, Any]) -> Result:
        answer = self.on_host("start", wanted)
        if problem := answer.get("problem"):
            usual = "look at log/obproxy.log in its home"
            raise FailedRule("A stopped OBProxy starts", problem, fix_for_root(problem, usual, self.facts["host"]))
        return answer

    def _stop(self, facts: dict[str, Any]) -> Result:
        """End what this takeover has started, its watchdogs first: they would start it again within a second, also one
        that has never listened (docs/reference/obproxy.md trap 14). What its first start has made goes too."""
        done, process = facts["done"], facts["process"]
        home = done.get("home") or (process or {}).get("home")
        if not home:
            return {"changed": False, "msg": "it does not run"}
        asked = {"home": home, "owner": done.get("owner", ""), "made": done.get("made", []), "check": self.checking}
        answer = self.on_host("undo_start", asked | {"sql_port": facts["sql_port"], "seconds": 30})
        if problem := answer.get("problem"):
            raise FailedRule("The OBProxy that the takeover started stops", problem, "stop it by hand")
        ended, removed = answer["ended"], answer["removed"]
        told = [f"stopped pid {', '.join(map(str, ended))}"] if ended else ["nothing runs"]
        told += [f"removed {', '.join(removed)}"] if removed else []
        return {"changed": bool(ended or removed), "msg": "; ".join(told)}


def _require_route(plan: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Require what a first start has to be told; raises FailedRule before anything is done."""
    by_list = bool(arguments["rs_list"]) and not arguments["config_server_url"]
    if not by_list and not arguments["config_server_url"]:
        raise FailedRule(
            "A first start is told where OceanBase is",
            "neither obproxy_config_server_url nor obproxy_rs_list is given",
            "give the one of the cluster's obproxy_start_mode",
        )
    if by_list and plan["has_script"] and not arguments["rs_cluster_name"]:
        raise FailedRule(
            "A first start by obproxyd.sh with a list of root servers names the OceanBase cluster",
            "obproxy_rs_cluster_name is empty, and OBProxy refuses an empty name",
            "give obproxy_rs_cluster_name, the name of the OceanBase cluster behind obproxy_rs_list",
        )
