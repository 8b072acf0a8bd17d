"""Workflows are read from a table, their playbooks and roles."""

from pathlib import Path

import pytest

from service.model import workflow
from service.model.errors import WorkflowInvalid
from service.model.fleet import KEPT_MANAGED, ServerStatus
from service.model.settings import PROJECT
from service.model.tasks import Operation
from service.model.workflow import PRECHECK, REFRESH, RELEASE, RESTART, TAKEOVER
from tests.unit.workflows import TABLE, write_table

SUBTASK = """
name: {name}
class_name: com.example.{name}
series_id: {series_id}
timeout: 30
prohibit_rollback: false
"""

# docs/reference/ocp-api.md 1.3: role, series id, timeout, class behind com.alipay.ocp.service.task.business.
CHAIN = [
    ("prepare_obproxy_install", 4, 300, "obproxy.PrepareObproxyInstallTask", "Prepare obproxy install"),
    ("prepare_create_obproxy", 0, 1800, "obproxy.PrepareCreateObproxyTask", "Prepare create obproxy"),
    ("check_process_not_exist", 8, 300, "host.CheckProcessNotExistTask", "Check if process not exist"),
    ("check_command", 6, 300, "host.CheckCommandTask", "Check if command exists"),
    ("install_rpm", 5, 3600, "host.InstallRpmByPackageAndVersionTask", "Install rpm by package and version"),
    ("start_obproxy", 1, 600, "obproxy.StartObproxyTask", "Start obproxy process"),
    ("sync_obproxy_parameter", 3, 30, "obproxy.SyncObproxyParameterTask", "Sync obproxy parameter"),
    (
        "set_obproxy_user_password",
        10,
        30,
        "obproxy.SetObproxyUserPasswordForObTask",
        "Set obproxy user and password for connect",
    ),
    ("refresh_agent_config", 9, 3600, "host.RefreshAgentConfigTask", "Refresh ocp agent config"),
    ("register_obproxy_exporter", 7, 30, "obproxy.RegisterObproxyExporterTask", "Register obproxy exporter"),
    ("update_obproxy_status", 11, 300, "obproxy.UpdateObproxyStatusTask", "Update obproxy status"),
    ("finish", 2, 0, "obproxy.FinishTask", "Finish node"),
]


def make(project: Path, *roles: tuple[str, int]) -> Path:
    lines = "".join(f"    - role: {role}\n      tags: [{role}]\n" for role, _ in roles)
    write_table(project)
    playbook = project / "playbooks" / "takeover.yml"
    playbook.parent.mkdir(parents=True)
    playbook.write_text(f"- hosts: all\n  roles:\n{lines or '    []'}", encoding="utf-8")
    for role, series_id in roles:
        path = project / "roles" / role / "meta" / "subtask.yml"
        path.parent.mkdir(parents=True)
        path.write_text(SUBTASK.format(name=role, series_id=series_id), encoding="utf-8")
    return project


def test_the_projects_own_takeover_is_ocps_chain() -> None:
    subtasks = workflow.load(PROJECT)[TAKEOVER].subtasks
    prefix = "com.alipay.ocp.service.task.business."
    assert [(s.role, s.series_id, s.timeout, s.class_name.removeprefix(prefix), s.name) for s in subtasks] == CHAIN
    assert all(s.class_name.startswith(prefix) and not s.prohibit_rollback for s in subtasks)


def test_the_projects_own_workflows() -> None:
    playbooks, workflows = PROJECT / "playbooks", workflow.load(PROJECT)
    found = {w.name: (w.task_name, w.playbook, w.rollback, w.server_status, w.check) for w in workflows.values()}
    takeover, rollback = playbooks / "takeover.yml", playbooks / "rollback.yml"
    assert list(workflows) == list(found)
    assert found == {
        TAKEOVER: ("Install obproxy", takeover, rollback, ServerStatus.TAKINGOVER, False),
        PRECHECK: ("Check obproxy takeover", takeover, None, None, True),
        RELEASE: ("Release obproxy", playbooks / "release.yml", None, ServerStatus.DELETING, False),
        REFRESH: ("Refresh obproxy", playbooks / "refresh.yml", None, ServerStatus.REFRESHING, False),
        RESTART: ("Restart obproxy", playbooks / "restart.yml", None, ServerStatus.RESTARTING, False),
    }
    set_by_runs = {w.name: w.run_status for w in workflows.values() if w.run_status}
    assert set_by_runs == {w.name: w.server_status for w in workflows.values() if w.name not in (TAKEOVER, PRECHECK)}
    assert {w.name for w in workflows.values() if w.server_status in KEPT_MANAGED} == {REFRESH, RESTART}


def test_imported_roles_come_after_listed_ones(tmp_path: Path) -> None:
    project = make(tmp_path, ("one", 1), ("two", 0), ("three", 2))
    (project / "playbooks" / "takeover.yml").write_text(
        "- hosts: all\n  roles: [three]\n  tasks:\n"
        "    - ansible.builtin.import_role: {name: two}\n"
        "    - ansible.builtin.debug: {}\n"
        "    - ansible.builtin.import_role: {name: one}\n",
        encoding="utf-8",
    )
    assert workflow.load(project)[TAKEOVER].roles == ["three", "two", "one"]


def test_a_subtask_is_a_role_and_a_line_in_the_playbook(tmp_path: Path) -> None:
    loaded = workflow.load(make(tmp_path, ("one", 1), ("two", 0)))[TAKEOVER]
    assert [(s.role, s.name, s.series_id) for s in loaded.subtasks] == [("one", "one", 1), ("two", "two", 0)]


@pytest.mark.parametrize(
    ("roles", "broken", "reason"),
    [
        ([("one", 1), ("two", 1)], "", "two subtasks share a series_id"),
        ([("one", 1), ("one", 1)], "", "two subtasks share a role"),
        ([], "", "takeover.yml: has no roles$"),
        ([("one", 1)], "nonsense: 1", "subtask.yml.*nonsense"),
        ([("one", 1)], "[", "subtask.yml: while parsing"),
    ],
)
def test_a_broken_workflow_is_rejected_by_name(
    tmp_path: Path, roles: list[tuple[str, int]], broken: str, reason: str
) -> None:
    if len(roles) == 2 and roles[0] == roles[1]:
        project = make(tmp_path, roles[0])
        playbook = project / "playbooks" / "takeover.yml"
        playbook.write_text("- hosts: all\n  roles: [one, one]\n", encoding="utf-8")
    else:
        project = make(tmp_path, *roles)
    if broken:
        (project / "roles" / "one" / "meta" / "subtask.yml").write_text(broken, encoding="utf-8")

    with pytest.raises(WorkflowInvalid, match=reason):
        workflow.load(project)


def test_a_workflow_is_an_entry_of_the_table(tmp_path: Path) -> None:
    project = make(tmp_path, ("one", 1))
    write_table(project, "again: {task_name: Again, playbook: takeover.yml, server_status: REFRESHING}\n")

    takeover, again = workflow.load(project).values()

    assert (again.name, again.task_name, again.server_status) == ("again", "Again", ServerStatus.REFRESHING)
    assert again.playbook == takeover.playbook and again.subtasks == takeover.subtasks
    assert takeover.rollback == project / "playbooks" / "rollback.yml" and not takeover.prohibits_rollback
    assert takeover.playbook_for(Operation.RETRY) == takeover.playbook
    assert takeover.playbook_for(Operation.ROLLBACK) == takeover.rollback
    assert again.rollback is None and again.prohibits_rollback
    with pytest.raises(AssertionError, match=r"^only a task instance with a rollback playbook is rolled back"):
        again.playbook_for(Operation.ROLLBACK)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "workflows.yml: is not a mapping of workflows$"),
        ("{}", "is not a mapping of workflows$"),
        ("[takeover]", "is not a mapping of workflows$"),
        ("other: []", "other: "),
        ("other: {task_name: Other, playbook: takeover.yml}", "other: KeyError: 'server_status'"),
        ("other: {task_name: Other, playbook: takeover.yml, server_status: X}", "other: ValueError: 'X'"),
        ("other: {task_name: Other, playbook: nowhere.yml, server_status: DELETING}", "nowhere.yml: .*No such file"),
    ],
)
def test_a_broken_table_is_rejected_by_name(tmp_path: Path, table: str, reason: str) -> None:
    project = make(tmp_path, ("one", 1))
    (project / "meta" / "workflows.yml").write_text(table, encoding="utf-8")

    with pytest.raises(WorkflowInvalid, match=reason):
        workflow.load(project)


@pytest.mark.parametrize("playbook", ["", "{hosts: all}", "[takeover]"])
def test_a_playbook_without_plays_is_rejected_by_name(tmp_path: Path, playbook: str) -> None:
    project = make(tmp_path, ("one", 1))
    (project / "playbooks" / "takeover.yml").write_text(playbook, encoding="utf-8")

    with pytest.raises(WorkflowInvalid, match=r"takeover\.yml: is not a list of plays$"):
        workflow.load(project)


def test_a_playbook_leads_to_its_workflow_and_direction(tmp_path: Path) -> None:
    project = make(tmp_path, ("one", 1))
    check = "check: {task_name: Check, playbook: takeover.yml, check: true}\n"
    (project / "meta" / "workflows.yml").write_text(check + TABLE, encoding="utf-8")
    workflows = workflow.load(project)

    assert workflow.of_playbook(workflows, "takeover") == (workflows[TAKEOVER], Operation.EXECUTE)
    assert workflow.of_playbook(workflows, "rollback") == (workflows[TAKEOVER], Operation.ROLLBACK)
    assert workflow.of_playbook(workflows, "other") is None
