"""Action plugin obproxy_start: checks that the OBProxy runs; with permission starts a stopped one."""

from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import NO_LOGIN, HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.addresses import named_ports
from ansible_collections.obproxy.takeover.plugins.module_utils.changes import (
    PRESENT,
    change,
    failed_start_changes,
    process_change,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import stage_one
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule, fix_for_root
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_start import DOCUMENTATION


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        facts = self.facts
        if arguments["state"] == "stopped":
            return self._stop(facts)
        if facts["running"]:
            return self.result_without_login() or self._check_health(facts) | {"changed": False}
        if not arguments["allow"]:
            raise FailedRule(
                "The OBProxy runs, or the takeover is permitted to start it",
                f"nothing listens on port {facts['sql_port']}",
                "start it, or permit the takeover to start it with obproxy_allow_start",
            )
        if self.is_check_mode:
            self.changes.append(process_change(None, None))
            return {"changed": True, "msg": "would start the OBProxy"}
        note = self._start(facts, arguments)
        found = self.rediscover()
        self._require_ports(found["ansible_facts"]["obproxy"], note, arguments["seconds"])
        process = found["ansible_facts"]["obproxy"]["process"]
        self.changes.append(process_change(None, process and process["pid"]))
        return self._check_health(found["ansible_facts"]["obproxy"]) | {
            "changed": True,
            "ansible_facts": found["ansible_facts"],
            "obproxy_server": found["obproxy_server"],
        }

    def _check_health(self, facts: dict[str, Any]) -> Result:
        """Check the health by the login of this run's discovery."""
        port = str(facts["sql_port"])
        listen_port = facts["parameters"].get("listen_port", "unknown")
        pending = "listen_port" in facts["pending_restart"]
        if facts["login"] in NO_LOGIN or (listen_port != port and not pending):
            raise FailedRule(
                "The OBProxy answers root@proxysys at its SQL port",
                f"login: {facts['login']} ({facts['login_error'] or 'no error'}), listen_port: {listen_port}",
                "read log/obproxy.log in the OBProxy's home",
            )
        supervised = "supervised" if facts["supervised"] else "not supervised by a watchdog"
        return {
            "msg": f"pid {facts['process']['pid']} answers at port {port} and is {supervised}",
            "obproxy_server": {"pid": facts["process"]["pid"], "supervised": facts["supervised"]},
        }

    def _start(self, facts: dict[str, Any], arguments: dict[str, Any]) -> Result:
        """Start the OBProxy and return the progress note; a first start gets all options.

        The note is written before the start. It records that the takeover starts the OBProxy, and whether the first
        start is incomplete: a corrected retry is then a first start again.
        """
        package = facts["packages"][0] if facts["packages"] else ""
        home, seconds = (facts["local_fact"] or {}).get("home"), arguments["seconds"]
        where = {
            "sql_port": facts["sql_port"],
            "package": package,
            "home": home,
            "owner": facts["discovery_arguments"]["user"],
        }
        plan = self._run_start(where | {"seconds": seconds})
        done = facts["done"]
        first = plan["fresh"] or bool(done.get("first_start"))
        if first:
            _require_cluster_route(plan, arguments)
        note = {"started": True, "home": plan["home"], "owner": plan["owner"]}
        note["made"] = sorted({*done.get("made", []), *(plan["absent"] if first else [])})
        self.write_progress(**note, first_start=first)
        password = self.secrets()["obproxy_sys_password"]
        options = ("app_name", "config_server_url", "rs_list", "rs_cluster_name", "seconds")
        wanted = {
            "first": first,
            "home": plan["home"],
            "owner": plan["owner"],
            "sql_port": facts["sql_port"],
            # On a command line OBProxy wants the hash (docs/reference/obproxy.md 4.3).
            "options": {"obproxy_sys_password": stage_one(password)} if password is not None else {},
        }
        self._run_start(wanted | {key: arguments[key] for key in options})
        self.write_progress(**note, first_start=False)
        return note | {"first_start": first}

    def _require_ports(self, new: dict[str, Any], note: Result, seconds: int) -> None:
        """Require that it listens on every configured port; otherwise stop it, so that a retry opens all ports.

        The ports are read again only if the discovery ran before one of them was open.
        """
        process = new["process"]
        missing = sorted(set(named_ports(new["parameters"])) - set(process["ports"] if process else []))
        if not process or not missing:
            return
        found = self.run_program("start", {"pid": process["pid"], "ports": missing, "seconds": seconds})["missing"]
        if not found:
            return
        holder = new["exporter"]["holder"]
        taken = [f"port {new['exporter']['port']} is held by {holder['description']}"] if holder else []
        self.write_progress(**note)
        undo = {"home": note["home"], "owner": note["owner"], "made": [], "check": False}
        answer = self.run_program("undo_start", undo | {"sql_port": new["sql_port"], "seconds": 30})
        self.changes += failed_start_changes(answer.get("ended", ()), None)
        raise FailedRule(
            "A started OBProxy listens at every configured port",
            "; ".join([found, *taken, "the started OBProxy was stopped"]),
            "free the ports, or configure others with prometheus_listen_port and rpc_listen_port",
        )

    def _run_start(self, wanted: dict[str, Any]) -> Result:
        answer = self.run_program("start", wanted)
        self.changes += failed_start_changes(answer.get("ended", ()), answer.get("left"))
        if problem := answer.get("problem"):
            usual = "read log/obproxy.log in its home"
            raise FailedRule("A stopped OBProxy starts", problem, fix_for_root(problem, usual, self.facts["host"]))
        return answer

    def _stop(self, facts: dict[str, Any]) -> Result:
        """Stop the OBProxy that this takeover has started, and remove the files of its first start.

        Its watchdogs are stopped first, because they restart it within a second (docs/reference/obproxy.md trap 14).
        """
        done, process = facts["done"], facts["process"]
        home = done.get("home") or (process or {}).get("home")
        if not home:
            return {"changed": False, "msg": "the OBProxy does not run"}
        undo = {"home": home, "owner": done.get("owner", ""), "made": done.get("made", []), "check": self.is_check_mode}
        answer = self.run_program("undo_start", undo | {"sql_port": facts["sql_port"], "seconds": 30})
        if problem := answer.get("problem"):
            raise FailedRule("The OBProxy that the takeover started stops", problem, "stop it by hand")
        ended, removed = answer["ended"], answer["removed"]
        self.changes += [change("process", "obproxy", f"pid {pid}", None) for pid in ended]
        self.changes += [change("file", path, PRESENT, None) for path in removed]
        messages = [f"stopped pid {', '.join(map(str, ended))}"] if ended else ["nothing runs"]
        messages += [f"removed {', '.join(removed)}"] if removed else []
        return {"changed": bool(ended or removed), "msg": "; ".join(messages)}


def _require_cluster_route(plan: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Require the options that a first start needs; raise FailedRule before anything changes."""
    by_list = bool(arguments["rs_list"]) and not arguments["config_server_url"]
    if not by_list and not arguments["config_server_url"]:
        raise FailedRule(
            "A first start has a config server URL or a list of root servers",
            "neither obproxy_config_server_url nor obproxy_rs_list is given",
            "set the one that matches the cluster's obproxy_start_mode",
        )
    if by_list and plan["has_script"] and not arguments["rs_cluster_name"]:
        raise FailedRule(
            "A first start by obproxyd.sh with a list of root servers has an OceanBase cluster name",
            "obproxy_rs_cluster_name is empty, and OBProxy rejects an empty name",
            "set obproxy_rs_cluster_name to the name of the OceanBase cluster behind obproxy_rs_list",
        )
