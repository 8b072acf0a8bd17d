"""Action plugin obproxy_discover: reads the state of a host and its OBProxy; changes nothing."""

from pathlib import Path
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction
from ansible_collections.obproxy.takeover.plugins.module_utils.addresses import address_of, login_obstacle
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import (
    build_facts,
    discovered_row,
    found_obproxy,
    no_sql_facts,
    parameter_definitions,
    proxy_at_port,
    read_json_file,
    sql_facts,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import PROXYRO, SYS
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Denied, Session, SqlError
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_discover import DOCUMENTATION

_SECONDS = 60


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._port: int = arguments["sql_port"]
        self._only_user: str | None = arguments["user"] if arguments["only_known_users"] else None
        arguments["record_file"] = f"{arguments['state_directory']}/before-{self._port}.json"
        arguments["done_file"] = f"{arguments['state_directory']}/done-{self._port}.json"
        arguments["pending_file"] = f"{arguments['state_directory']}/pending-{self._port}.json"
        arguments["discovery_arguments"] = {key: arguments[key] for key in self.OPTIONS}
        host = self.run_program("probe", _probe_arguments(arguments))
        self._record = read_json_file(host["files"], arguments["record_file"])
        self._about: dict[str, Any] = {}
        facts = build_facts(host, self._read_sql(host), arguments)
        return {
            "changed": False,
            "ansible_facts": {"obproxy": facts},
            "obproxy_server": discovered_row(facts, self._about),
            "obproxy_found": found_obproxy(facts),
        }

    def _read_sql(self, host: dict[str, Any]) -> dict[str, Any]:
        """Log in and read parameters, but only if the OBProxy itself listens: no other process gets a password."""
        proxy = proxy_at_port(host, self._port)
        address = address_of(proxy, self._port, host)
        if (why := login_obstacle(proxy, self._port, host, self._only_user)) or address is None:
            return no_sql_facts("untried", why)
        with self.tunnels() as tunnels:
            try:
                name, _, session = self.log_in(tunnels, (address, self._port), self.login_candidates(self._record))
            except Denied as error:
                return no_sql_facts("denied", str(error))
            except SqlError as error:
                return no_sql_facts("unreachable", str(error))
            with session:
                return self._read(session, name)

    def _read(self, session: Session, login: str) -> dict[str, Any]:
        secrets = self.secrets()
        desired = {SYS: secrets["obproxy_sys_password"], PROXYRO: secrets["obproxy_proxyro_password"]}
        given = secrets["obproxy_current_proxyro_password"]
        try:
            config = session.rows("SHOW PROXYCONFIG")
            read = sql_facts(config, session.binary(), session.clusters(), login, desired, given)
            # Only in the result, for the service; the fact is part of all later Ansible tasks and must stay small.
            self._about = {"parameters": read["parameters"], "parameter_definitions": parameter_definitions(config)}
            return read
        except SqlError as error:
            return no_sql_facts("unreachable", str(error))
        except LookupError as error:
            return no_sql_facts("unreachable", f"a response has no column {error}")


def _probe_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "sql_port": arguments["sql_port"],
        "keywords": arguments["process_keywords"],
        "commands": arguments["commands"],
        "owner": arguments["user"],
        "directories": [arguments["state_directory"], str(Path(arguments["fact_file"]).parent)],
        "files": [arguments[key] for key in ("fact_file", "record_file", "pending_file", "done_file")],
        "places": [arguments["agent_file"]],
        "executables": [arguments["agent_control"]],
        "seconds": _SECONDS,
    }
