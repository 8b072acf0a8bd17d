"""The template of a takeover: the DAG, read from the playbook and the roles so that nothing is written twice.

Order comes from the roles that playbooks/takeover.yml imports, everything else about a subtask from
roles/<role>/meta/subtask.yml.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from service.model.errors import TemplateInvalid

PLAYBOOK = "takeover.yml"
ROLLBACK = "rollback.yml"
_IMPORT = "ansible.builtin.import_role"


@dataclass(frozen=True, kw_only=True)
class SubtaskTemplate:
    """What every subtask made from one role has in common. `timeout` in seconds, 0 = no limit."""

    role: str
    name: str
    class_name: str
    series_id: int
    timeout: int
    prohibit_rollback: bool


@dataclass(frozen=True, kw_only=True)
class Template:
    """The subtasks of a takeover in DAG order: each one's upstream is the one before it."""

    playbook: Path
    rollback: Path  # the playbook that undoes them, in reverse order
    subtasks: Sequence[SubtaskTemplate]


def load(project: Path) -> Template:
    """Read the template below `project`, the directory of playbooks/ and roles/; TemplateInvalid names the file."""
    playbook = project / "playbooks" / PLAYBOOK
    plays = _read_yaml(playbook)
    if not isinstance(plays, list) or not all(isinstance(play, dict) for play in plays):
        raise TemplateInvalid(path=playbook, reason="is not a list of plays")
    roles = [role for play in plays for role in _roles(play)]
    subtasks = [_subtask(project / "roles" / role / "meta" / "subtask.yml", role) for role in roles]
    if not subtasks:
        raise TemplateInvalid(path=playbook, reason="has no roles")
    _assert_unique(playbook, subtasks)
    return Template(playbook=playbook, rollback=playbook.with_name(ROLLBACK), subtasks=subtasks)


def _roles(play: dict[str, Any]) -> list[str]:
    """A play's roles in the order that Ansible runs them in: those it lists, then those that its tasks import."""
    listed = [entry["role"] if isinstance(entry, dict) else entry for entry in play.get("roles", [])]
    return listed + [task[_IMPORT]["name"] for task in play.get("tasks", []) if _IMPORT in task]


def _subtask(path: Path, role: str) -> SubtaskTemplate:
    facts = _read_yaml(path)
    try:
        return SubtaskTemplate(role=role, **facts)
    except TypeError as error:
        raise TemplateInvalid(path=path, reason=str(error)) from error


def _assert_unique(playbook: Path, subtasks: Sequence[SubtaskTemplate]) -> None:
    for field in ("role", "series_id"):
        values = [getattr(subtask, field) for subtask in subtasks]
        if len(set(values)) != len(values):
            raise TemplateInvalid(path=playbook, reason=f"two subtasks share a {field}: {sorted(values)}")


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise TemplateInvalid(path=path, reason=str(error)) from error
