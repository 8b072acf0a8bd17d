"""The roles' argument specs are complete, typed, equal to the defaults and to the playbooks' own spec."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.yaml_files import load

from . import readmes

ROOT = Path(__file__).parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
# Variables that a role's plugin reads by itself, so that no callback sees them as arguments, or that the discovery has
# judged by on behalf of the role.
LOGIN = {"obproxy_current_sys_password", "obproxy_sys_password"}
BEHIND = {
    "prepare_create_obproxy": LOGIN | {"obproxy_current_proxyro_password", "obproxy_state_directory"},
    "start_obproxy": LOGIN | {"obproxy_user"},
    "restart_obproxy": LOGIN,
    "refresh_agent_config": {"obproxy_user"},
    "sync_obproxy_parameter": LOGIN,
    "set_obproxy_user_password": LOGIN | {"obproxy_proxyro_password"},
    "update_obproxy_status": LOGIN,
    "remove_agent_config": {"obproxy_user"},
    "remove_obproxy_record": {"obproxy_state_directory"},
    "check_command": {"obproxy_commands_to_check"},
    "check_process_not_exist": {"obproxy_process_keywords"},
}
SAME = ("type", "elements", "choices", "no_log", "description")


def _load(path: Path) -> Any:
    return load(path) if path.exists() else {}


def _specs(role: Path) -> dict[str, Any]:
    return dict(_load(role / "meta" / "argument_specs.yml")["argument_specs"])


def _options(role: Path) -> dict[str, Any]:
    """Of all entry points together."""
    return {name: option for spec in _specs(role).values() for name, option in spec["options"].items()}


def _whole() -> dict[str, Any]:
    """Return the options of all playbooks; a playbook other than takeover may have some of its own."""
    metas = [_load(ROOT / "playbooks" / f"{name}.meta.yml")["argument_specs"][name] for name in ("restart", "takeover")]
    return {name: option for meta in metas for name, option in meta["options"].items()}


def _used(role: Path, *globs: str) -> set[str]:
    text = "\n".join(path.read_text() for glob in globs for path in role.glob(glob))
    return set(re.findall(r"\bobproxy_[a-z_]+\b", text)) & _whole().keys() - {"obproxy_parameters"} | set(
        re.findall(r"(?<=[ (])obproxy_parameters(?=[ )|])", text)  # also the name of a plugin
    )


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_an_entry_point_for_each_file_of_tasks(role: Path) -> None:
    assert sorted(_specs(role)) == sorted(path.stem for path in (role / "tasks").glob("*.yml"))
    for spec in _specs(role).values():
        assert spec["short_description"] and spec["description"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_every_variable_of_a_role_is_in_its_spec(role: Path) -> None:
    used = _used(role, "tasks/main.yml", "rules/*", "templates/*", "defaults/*")
    assert used | BEHIND.get(role.name, set()) == _specs(role)["main"]["options"].keys()
    undoing = _used(role, "tasks/rollback.yml") - LOGIN
    assert undoing <= _specs(role).get("rollback", {"options": {}})["options"].keys()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_defaults_are_the_specs(role: Path) -> None:
    documented = {name: option["default"] for name, option in _options(role).items() if "default" in option}
    assert documented == (_load(role / "defaults" / "main.yml") or {})


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_a_variable_means_the_same_in_every_role(role: Path) -> None:
    for name, option in _options(role).items():
        for word in SAME:
            assert option.get(word) == _whole()[name].get(word), f"{name}: {word}"
        assert not (option.get("required") and "default" in option), name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_the_readme_shows_the_spec(role: Path) -> None:
    text = (role / "README.md").read_text()
    assert readmes.with_table(text, _specs(role)) == text, "run: python -m tests.roles.readmes"
    paragraphs = readmes.before_table(text).strip().split("\n\n")
    assert paragraphs[0] == f"# {role.name}" and len(paragraphs) == 4, "a title and three paragraphs"


def test_an_outdated_table_is_detected() -> None:
    spec = {"main": {"options": {"obproxy_x": {"type": "int", "default": 1, "description": "A | B."}}}}
    text = readmes.with_table("# role\n\nText.\n", spec)
    assert "| `obproxy_x` | int | `1` | A \\| B. |" in text
    assert readmes.with_table(text, spec) == text
    spec["main"]["options"]["obproxy_x"]["default"] = 2
    assert readmes.with_table(text, spec) != text


def test_each_playbook_checks_its_variables_once() -> None:
    for playbook, spec in (
        ("takeover", "takeover"),
        ("rollback", "takeover"),
        ("release", "release"),
        ("refresh", "refresh"),
        ("restart", "restart"),
    ):
        (play,) = _load(ROOT / "playbooks" / f"{playbook}.yml")
        assert play["vars"]["argument_spec"] == spec and "validate_argspec" not in play
        imported = [task["ansible.builtin.import_role"] for task in play["tasks"]]
        assert all(task["rolespec_validate"] is False for task in imported), "checked once, for the whole play"


def _conditions(tasks: Any) -> Iterator[str]:
    """Every condition of some Ansible tasks, steps or rules: `when`, and what rules hold."""
    for task in tasks:
        yield from _conditions(task.get("obproxy.takeover.obproxy_steps", {}).get("steps", ()))
        for value in (
            task.get("when", ()),
            task.get("that", ()),
            *(rule["that"] for rule in task.get("obproxy.takeover.obproxy_require", {}).get("rules", ())),
        ):
            yield from map(str, value if isinstance(value, list) else [value])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_a_condition_keeps_the_type_of_an_extra_variable(role: Path) -> None:
    """`-e obproxy_allow_restart=true` is a text, whatever the argument spec has validated."""
    kinds = {name: option["type"] for name, option in _whole().items() if option["type"] in ("bool", "int")}
    for path in [*role.glob("tasks/*.yml"), *role.glob("rules/*.yml")]:
        for condition in _conditions(_load(path) or []):
            for name, kind in kinds.items():
                plain = re.sub(r"\| default\([^)]*\)", "", condition)
                for use in re.finditer(rf"\b{name}\b(?!\s+is )\s*(\S*)\s*(\w*)", plain):
                    assert use.groups() == ("|", kind), f"{path}: {condition}"
