"""Reads the workflows: the playbook, the name of the task instances and the DAG of each.

meta/workflows.yml names the workflows. The order of the subtasks comes from the roles that the playbook imports,
everything else about a subtask from roles/<role>/meta/subtask.yml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from service.model.errors import WorkflowInvalid
from service.model.fleet import ServerStatus
from service.model.tasks import Operation

TAKEOVER, PRECHECK, RELEASE, REFRESH, RESTART = "takeover", "precheck", "release", "refresh", "restart"
_IMPORT = "ansible.builtin.import_role"
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # six times as fast as the one in Python


@dataclass(frozen=True, kw_only=True)
class SubtaskTemplate:
    """Properties of all subtasks of one role. `timeout` in seconds, 0 = no limit."""

    role: str
    name: str
    class_name: str
    series_id: int
    timeout: int
    prohibit_rollback: bool


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """Playbooks and subtasks of a kind of task instance. The upstream of each subtask is the one before it."""

    name: str
    task_name: str  # of its task instances
    playbook: Path
    rollback: Path | None  # undoes its subtasks in reverse order; None = it cannot be undone
    subtasks: Sequence[SubtaskTemplate]
    server_status: ServerStatus | None  # of the OBProxy server until the task instance has succeeded
    check: bool  # its runs are in check mode, and its task instances have no OBProxy server

    @property
    def roles(self) -> list[str]:
        """The roles of its subtasks."""
        return [subtask.role for subtask in self.subtasks]

    def playbook_for(self, operation: Operation) -> Path:
        """Return the playbook of an operation on a task instance."""
        if operation is not Operation.ROLLBACK:
            return self.playbook
        assert self.rollback is not None, "only a task instance with a rollback playbook is rolled back"
        return self.rollback

    @property
    def run_status(self) -> ServerStatus | None:
        """The status that the OBProxy server gets when a run starts; None = that of the submission stays."""
        return None if self.server_status is ServerStatus.TAKINGOVER else self.server_status

    @property
    def prohibits_rollback(self) -> bool:
        """True if a successful task instance cannot be rolled back."""
        return self.rollback is None or any(subtask.prohibit_rollback for subtask in self.subtasks)


Workflows = Mapping[str, Workflow]


def of_playbook(workflows: Workflows, name: str) -> tuple[Workflow, Operation] | None:
    """Return the workflow of a playbook, named without its suffix, and the playbook's operation.

    The operation is EXECUTE or ROLLBACK. None = the playbook belongs to no workflow. A workflow in check mode shares
    the playbook of another one.
    """
    for workflow in (workflow for workflow in workflows.values() if not workflow.check):
        for operation, playbook in ((Operation.EXECUTE, workflow.playbook), (Operation.ROLLBACK, workflow.rollback)):
            if playbook is not None and playbook.stem == name:
                return workflow, operation
    return None


def load(project: Path) -> Workflows:
    """Read the workflows of `project`, the directory of meta/, playbooks/ and roles/, by name.

    WorkflowInvalid names the file.
    """
    table = project / "meta" / "workflows.yml"
    entries = _read_yaml(table)
    if not isinstance(entries, dict) or not entries:
        raise WorkflowInvalid(path=table, reason="is not a mapping of workflows")
    return {name: _workflow(project, table, name, entry) for name, entry in entries.items()}


def _workflow(project: Path, table: Path, name: str, entry: Any) -> Workflow:
    try:
        playbook, rollback = entry["playbook"], entry.get("rollback")
        return Workflow(
            name=name,
            task_name=entry["task_name"],
            playbook=project / "playbooks" / playbook,
            rollback=None if rollback is None else project / "playbooks" / rollback,
            subtasks=_subtasks(project, project / "playbooks" / playbook),
            server_status=None if entry.get("check") is True else ServerStatus(entry["server_status"]),
            check=entry.get("check") is True,
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise WorkflowInvalid(path=table, reason=f"{name}: {type(error).__name__}: {error}") from error


def _subtasks(project: Path, playbook: Path) -> list[SubtaskTemplate]:
    plays = _read_yaml(playbook)
    if not isinstance(plays, list) or not all(isinstance(play, dict) for play in plays):
        raise WorkflowInvalid(path=playbook, reason="is not a list of plays")
    roles = [role for play in plays for role in _roles(play)]
    subtasks = [_subtask(project / "roles" / role / "meta" / "subtask.yml", role) for role in roles]
    if not subtasks:
        raise WorkflowInvalid(path=playbook, reason="has no roles")
    _assert_unique(playbook, subtasks)
    return subtasks


def _roles(play: dict[str, Any]) -> list[str]:
    """Return a play's roles in execution order: those it lists, then those that its tasks import."""
    listed = [entry["role"] if isinstance(entry, dict) else entry for entry in play.get("roles", [])]
    return listed + [task[_IMPORT]["name"] for task in play.get("tasks", []) if _IMPORT in task]


def _subtask(path: Path, role: str) -> SubtaskTemplate:
    facts = _read_yaml(path)
    try:
        return SubtaskTemplate(role=role, **facts)
    except TypeError as error:
        raise WorkflowInvalid(path=path, reason=str(error)) from error


def _assert_unique(playbook: Path, subtasks: Sequence[SubtaskTemplate]) -> None:
    for field in ("role", "series_id"):
        values = [getattr(subtask, field) for subtask in subtasks]
        if len(set(values)) != len(values):
            raise WorkflowInvalid(path=playbook, reason=f"two subtasks share a {field}: {sorted(values)}")


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML_LOADER)  # noqa: S506 - a safe loader
    except (OSError, yaml.YAMLError) as error:
        raise WorkflowInvalid(path=path, reason=str(error)) from error
