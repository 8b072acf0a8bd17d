"""Playbooks, roles and plugins agree: one order, one list of variables, one set of options."""

import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.obproxy.takeover.plugins.action.obproxy_restart import time_to_drain
from ansible_collections.obproxy.takeover.plugins.module_utils.documentation import argument_spec
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.restart import BESIDES_STARTS

from tests.yaml_files import load

ROOT = Path(__file__).parents[2]
PLAYBOOKS, ROLES = ROOT / "playbooks", ROOT / "roles"
ACTIONS, MODULES = ROOT / "plugins" / "action", ROOT / "plugins" / "modules"
PLUGINS = sorted(path.stem for path in ACTIONS.glob("*.py"))


def _imports(playbook: str) -> list[dict[str, Any]]:
    return list(load(PLAYBOOKS / f"{playbook}.yml")[0]["tasks"])


WORKFLOWS = load(ROOT / "meta" / "workflows.yml")


def _roles(playbook: str = "takeover") -> list[str]:
    return [task["ansible.builtin.import_role"]["name"] for task in _imports(playbook)]


ALL_ROLES = sorted({role for entry in WORKFLOWS.values() for role in _roles(Path(entry["playbook"]).stem)})


def test_every_role_is_in_the_playbook_once_with_its_own_tag() -> None:
    for entry in WORKFLOWS.values():
        playbook = Path(entry["playbook"]).stem
        assert [task["tags"] for task in _imports(playbook)] == _roles(playbook)
    assert sorted(path.name for path in ROLES.iterdir()) == ALL_ROLES
    assert len(_roles()) == 12


@pytest.mark.parametrize("role", ALL_ROLES)
def test_every_role_defines_its_subtask(role: str) -> None:
    subtask = load(ROLES / role / "meta" / "subtask.yml")
    assert subtask.keys() == {"name", "class_name", "series_id", "timeout", "prohibit_rollback"}
    assert (ROLES / role / "README.md").is_file()
    for path in [ROLES / role / "tasks" / "main.yml", *(ROLES / role / "rules").glob("*.yml")]:
        assert len(path.read_text().splitlines()) <= 75, path


@pytest.mark.parametrize("role", ["start_obproxy", "restart_obproxy"])
def test_a_drain_and_a_start_with_its_undo_fit_into_their_subtask(role: str) -> None:
    defaults = load(ROLES / role / "defaults" / "main.yml")
    start, drain = defaults["obproxy_start_seconds"], defaults["obproxy_drain_seconds"]
    limit = load(ROLES / role / "meta" / "subtask.yml")["timeout"]
    assert start + time_to_drain("hot", drain, start) < limit
    for way in ("cold", "supervisor"):
        assert 2 * start + BESIDES_STARTS + time_to_drain(way, drain, start) < limit


def test_series_ids_are_those_of_the_sample() -> None:
    series = [load(ROLES / role / "meta" / "subtask.yml")["series_id"] for role in _roles()]
    assert series == [4, 0, 8, 6, 5, 1, 3, 10, 9, 7, 11, 2]  # docs/reference/ocp-api.md 1.3


def test_rollback_goes_from_the_last_role_to_the_first() -> None:
    tasks = _imports("rollback")
    undone = [task["ansible.builtin.import_role"]["name"] for task in tasks]
    assert undone == [role for role in reversed(_roles()) if (ROLES / role / "tasks" / "rollback.yml").is_file()]
    assert [task["tags"] for task in tasks] == undone


def _texts() -> str:
    files = [
        *PLAYBOOKS.glob("*.yml"),
        *PLAYBOOKS.glob("tasks/*.yml"),
        *ROLES.glob("*/*/*.yml"),
        *ROLES.glob("*/*/*.j2"),
    ]
    # The variable of leftovers.yml is the service's own.
    others = {"leftovers.yml", *(path.name for path in PLAYBOOKS.glob("*.meta.yml"))}
    return "\n".join(path.read_text() for path in files if path.name not in others)


def _options() -> dict[str, Any]:
    """Return the options of all playbooks; a playbook other than takeover may have some of its own."""
    metas = [load(PLAYBOOKS / f"{name}.meta.yml")["argument_specs"][name] for name in ("restart", "takeover")]
    return {name: option for meta in metas for name, option in meta["options"].items()}


def test_every_variable_is_typed_and_every_typed_one_is_used() -> None:
    no_variables = {*PLUGINS, *ALL_ROLES, "obproxy_server"} - {"obproxy_parameters"}  # a plugin and a variable
    used = set(re.findall(r"\bobproxy_[a-z_]+\b|\bocp_host_id\b", _texts())) - no_variables
    by_plugins = {name for name in _options() if name.endswith("_password")}
    assert used | by_plugins == _options().keys()


@pytest.mark.parametrize("workflow", ["release", "refresh", "restart"])
def test_a_workflow_has_the_same_types_as_the_takeover(workflow: str) -> None:
    options = load(PLAYBOOKS / f"{workflow}.meta.yml")["argument_specs"][workflow]["options"]
    files = [PLAYBOOKS / f"{workflow}.yml", PLAYBOOKS / "tasks" / "discover.yml"]
    files += [path for role in _roles(workflow) for path in (ROLES / role).glob("*/main.yml")]
    texts = "\n".join(path.read_text() for path in files)
    used = set(re.findall(r"\bobproxy_[a-z_]+\b|\bocp_host_id\b", texts)) - {*PLUGINS, *ALL_ROLES, "obproxy_server"}

    specs = [load(ROLES / role / "meta" / "argument_specs.yml")["argument_specs"] for role in _roles(workflow)]
    read_by_plugins = {name for spec in specs for name in spec["main"]["options"]}
    assert options.keys() == used | read_by_plugins | {"obproxy_sys_password", "obproxy_current_sys_password"}
    assert {name: _options()[name] for name in options} == options


def test_secrets_are_marked() -> None:
    secrets = {name for name, option in _options().items() if option.get("no_log")}
    assert secrets == {name for name in _options() if name.endswith("password")}


def test_defaults_are_the_same_everywhere() -> None:
    for path in sorted(ROLES.glob("*/defaults/main.yml")):
        for name, value in load(path).items():
            documented = _options()[name].get("default")
            if documented is not None:
                assert value == documented, f"{name} in {path.parent.parent.name}"


@pytest.mark.parametrize("name", PLUGINS)
def test_each_action_validates_the_options_that_its_module_documents(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.obproxy.takeover.plugins.modules.{name}")
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]

    assert argument_spec(module.DOCUMENTATION).keys() == documented.keys()
    assert yaml.safe_load(module.EXAMPLES) and yaml.safe_load(module.RETURN)
    source = (ACTIONS / f"{name}.py").read_text()
    assert not documented or f"plugins.modules.{name} import DOCUMENTATION" in source


def test_no_secret_is_a_task_argument() -> None:
    tasks = "\n".join(path.read_text() for path in [*ROLES.glob("*/tasks/*.yml"), *PLAYBOOKS.glob("tasks/*.yml")])
    assert not re.findall(r"{{[^}]*_password[^}]*}}", tasks)


def test_the_sample_inventory_shows_every_variable() -> None:
    files = [ROOT / "inventory" / "hosts.yml", *(ROOT / "inventory" / "group_vars").glob("*.yml")]
    text = "\n".join(path.read_text() for path in files)
    assert [name for name in _options() if not re.search(rf"\b{name}\b", text)] == []


@cache
def _ansible_tasks(*arguments: str) -> dict[str, list[str]]:
    """Return the names of the Ansible tasks of each workflow's playbook, by its name, as Ansible lists them."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "--list-tasks", *arguments]
    playbooks = sorted({str(PLAYBOOKS / Path(entry["playbook"]).name) for entry in WORKFLOWS.values()})
    done = subprocess.run([*command, *playbooks], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    _, *listings = re.split(r"^playbook: ", done.stdout, flags=re.MULTILINE)
    names = [re.findall(r"^ {6}(\S.*?)\tTAGS:", listing, re.MULTILINE) for listing in listings]
    return dict(zip([Path(playbook).stem for playbook in playbooks], names, strict=True))


@pytest.mark.parametrize("playbook", sorted({Path(entry["playbook"]).stem for entry in WORKFLOWS.values()}))
@pytest.mark.parametrize(("arguments", "expected"), [(["--check"], 1), ([], 0)], ids=["check", "run"])
def test_only_a_check_has_an_ansible_task_for_its_findings(playbook: str, arguments: list[str], expected: int) -> None:
    tasks = _ansible_tasks(*arguments)[playbook]
    assert sum(name.endswith("Fail if the check has findings") for name in tasks) == expected


def test_an_adoption_has_one_ansible_task_for_each_subtask_and_one_for_the_discovery() -> None:
    """Each costs 20 ms on the controller, even if it is skipped (docs/performance.md)."""
    end_host, discovery, *subtasks = _ansible_tasks()["takeover"]
    assert (end_host, discovery) == ("Skip hosts without ocp_host_id", "Discover the OBProxy server")  # meta is no task
    assert [task.split(" : ")[0] for task in subtasks] == list(_roles("takeover"))


def test_no_inventory_decides_whether_a_check_reports_all_findings() -> None:
    for path in PLAYBOOKS.glob("*.yml"):
        plays = [play for play in load(path) if isinstance(play, dict) and "argument_spec" in play.get("vars", {})]
        assert plays or path.stem not in {Path(entry["playbook"]).stem for entry in WORKFLOWS.values()}
        assert all("report_all_findings" in play["vars"] for play in plays), path


def test_the_actions_of_several_workflows_do_not_name_the_takeover_as_the_run() -> None:
    """A refresh or restart shows their messages too."""
    own = ROLES / "sync_obproxy_parameter", *(ROLES / role for name in ("refresh", "restart") for role in _roles(name))
    actions = {
        found
        for role in own
        for found in re.findall(r"obproxy\.takeover\.(\w+):", (role / "tasks" / "main.yml").read_text())
    }
    assert {"obproxy_restart", "obproxy_parameters", "obproxy_status"} <= actions
    sources = [ACTIONS / f"{name}.py" for name in actions - {"obproxy_record"}]  # it keeps the record of a takeover
    for path in [*sources, ROOT / "plugins" / "module_utils" / "action.py"]:
        assert "the takeover again" not in path.read_text(), path
        assert "end of the takeover" not in path.read_text(), path
