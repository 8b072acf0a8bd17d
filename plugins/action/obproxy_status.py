"""Action plugin obproxy_status: checks the OBProxy a last time, then writes the local fact with its manager."""

import json
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction, Result
from ansible_collections.obproxy.takeover.plugins.module_utils.addresses import format_address
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import server_row
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import SqlError
from ansible_collections.obproxy.takeover.plugins.module_utils.versions import version_in
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_status import DOCUMENTATION


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> Result:
        return self.result_before_start() or self._act(arguments)

    def _act(self, arguments: dict[str, Any]) -> Result:
        version = self._check()
        facts = self.facts
        row = server_row(facts) | {"exporter_port": facts["exporter"]["port"], "managed_by": arguments["managed_by"]}
        row |= {"version": version} if version else {}
        note = {
            "managed_by": arguments["managed_by"],
            "cluster_id": arguments["cluster_id"],
            "cluster_name": arguments["cluster_name"],
            "sql_port": facts["sql_port"],
            **{key: row.get(key) for key in ("version", "home", "owner", "exporter_port", "start_mode")},
        }
        text = json.dumps(note, indent=2, sort_keys=True) + "\n"
        former = (facts["recorded"] or facts)["local_fact"]
        result = self.converge(
            "The local fact with the OBProxy's manager can be written",
            [{"path": arguments["fact_file"], "text": text, "keep": former is not None}],
            process={key: facts["process"][key] for key in ("pid", "started")},
        )
        return result | {"msg": f"OBProxy {row['version']} is healthy, pid {row['pid']}", "obproxy_server": row}

    def _check(self) -> str | None:
        """Log in again, with the cluster's password first, and check health and port; return the version."""
        place = self.sql_endpoint()
        try:
            with self.tunnels() as tunnels:
                _, _, session = self.log_in(
                    tunnels, place, sorted(self.login_candidates(None), key=lambda one: one[0] != "cluster")
                )
                with session:
                    session.ping()
                    listen_port, binary = session.parameter("listen_port"), session.binary()
        except SqlError as error:
            raise _unhealthy(place, str(error)) from error
        if listen_port != str(place[1]) and "listen_port" not in self.facts["pending_restart"]:
            raise _unhealthy(place, f"its listen_port is {listen_port}")
        return version_in(binary)


def _unhealthy(place: tuple[str, int], found: str) -> FailedRule:
    return FailedRule(
        f"OBProxy answers root@proxysys at {format_address(*place)} at the end",
        found,
        "read OBProxy's log/obproxy.log, then retry",
    )
