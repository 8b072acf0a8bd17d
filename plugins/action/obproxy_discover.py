"""Action plugin obproxy_discover: reads everything a takeover needs to know, changes nothing."""

from pathlib import Path
from typing import Any

from ansible_collections.obproxy.takeover.plugins.module_utils.action import HostAction
from ansible_collections.obproxy.takeover.plugins.module_utils.addresses import address_of, why_untried
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import (
    assemble,
    at_port,
    definitions,
    no_reading,
    note_at,
    reading,
    server_row,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import PROXYRO, SYS
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Denied, Session, SqlError
from ansible_collections.obproxy.takeover.plugins.modules.obproxy_discover import DOCUMENTATION

_SECONDS = 60


class ActionModule(HostAction):
    OPTIONS = argument_spec(DOCUMENTATION)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._port: int = arguments["sql_port"]
        arguments["record_file"] = f"{arguments['state_directory']}/before-{self._port}.json"
        arguments["done_file"] = f"{arguments['state_directory']}/done-{self._port}.json"
        arguments["pending_file"] = f"{arguments['state_directory']}/pending-{self._port}.json"
        arguments["asked"] = {key: arguments[key] for key in self.OPTIONS}
        host = self.on_host("probe", _question(arguments))
        self._record = note_at(host["files"], arguments["record_file"])
        self._about: dict[str, Any] = {}
        facts = assemble(host, self._sql(host), arguments)
        server = server_row(facts) | self._about
        return {"changed": False, "ansible_facts": {"obproxy": facts}, "obproxy_server": server}

    def _sql(self, host: dict[str, Any]) -> dict[str, Any]:
        """Log in and read, but only where the OBProxy itself listens: no password goes to a stranger."""
        proxy = at_port(host, self._port)
        address = address_of(proxy, self._port, host)
        if (why := why_untried(proxy, self._port, host)) or address is None:
            return no_reading("untried", why)
        with self.tunnels() as tunnels:
            try:
                name, _, session = self.log_in(tunnels, (address, self._port), self.candidates(self._record))
            except Denied as error:
                return no_reading("denied", str(error))
            except SqlError as error:
                return no_reading("unreachable", str(error))
            with session:
                return self._read(session, name)

    def _read(self, session: Session, login: str) -> dict[str, Any]:
        secrets = self.secrets()
        wished = {SYS: secrets["obproxy_sys_password"], PROXYRO: secrets["obproxy_proxyro_password"]}
        given = secrets["obproxy_current_proxyro_password"]
        try:
            config = session.rows("SHOW PROXYCONFIG")
            read = reading(config, session.binary(), session.clusters(), login, wished, given)
            # For the service alone: the fact, which every later Ansible task carries, has the values only.
            self._about = {"parameters": read["parameters"], "parameter_definitions": definitions(config)}
            return read
        except SqlError as error:
            return no_reading("unreachable", str(error))


def _question(arguments: dict[str, Any]) -> dict[str, Any]:
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
