"""Default ports: one value in the service, in the plugins, and in the documented defaults of roles and playbooks."""

import ast

import yaml
from ansible_collections.obproxy.takeover.plugins.module_utils import addresses
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import listeners
from ansible_collections.obproxy.takeover.plugins.modules import obproxy_discover

from service.model.fleet import DEFAULT_SQL_PORT
from service.model.settings import PROJECT
from tests.yaml_files import load

ROLE = PROJECT / "roles" / "prepare_obproxy_install"
SERVICE, PLUGINS = PROJECT / "service", PROJECT / "plugins"
PORTS = (DEFAULT_SQL_PORT, listeners.DEFAULT_EXPORTER_PORT)


def test_all_sides_have_the_same_sql_port() -> None:
    playbook = load(PROJECT / "playbooks" / "takeover.meta.yml")
    defaults = {
        "plugins": addresses.DEFAULT_SQL_PORT,
        "module": yaml.safe_load(obproxy_discover.DOCUMENTATION)["options"]["sql_port"]["default"],
        "role": load(ROLE / "defaults" / "main.yml")["obproxy_sql_port"],
        "role's arguments": load(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"][
            "obproxy_sql_port"
        ]["default"],
        "playbook": playbook["argument_specs"]["takeover"]["options"]["obproxy_sql_port"]["default"],
    }
    assert set(defaults.values()) == {DEFAULT_SQL_PORT}, defaults


def test_code_states_each_port_once() -> None:
    stated = [
        (node.value, root.name)
        for root in (SERVICE, PLUGINS)
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in PORTS
    ]
    sql, exporter = PORTS
    assert sorted(stated) == [(sql, "plugins"), (sql, "service"), (exporter, "plugins")]
