"""From a job to a document that is right: a real worker, real ansible-runner, on this machine itself as the host."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from service import instances, template, worker
from service.database import execute
from service.resources import Resources
from service.submit import HostRequest, take_over
from service.types import Subtask, SubtaskStatus, TaskInstance, TaskStatus

DEADLINE = 60.0  # seconds a takeover of this kind may take at the most

ROLES = {
    "one": "ansible.builtin.debug:\n    msg: the port is {{ obproxy_sql_port }}, {{ secret_password }}",
    "two": 'ansible.builtin.command: "{{ command }}"\n  changed_when: false',
    "three": "ansible.builtin.debug:\n    msg: done\n  register: done\n  changed_when: false",
}

SUBTASK = "{{name: Subtask {role}, class_name: C, series_id: {number}, timeout: 30, prohibit_rollback: false}}"

INVENTORY = """
all:
  vars: {{obproxy_cluster_id: 1}}
  hosts:
    here: {{ansible_connection: local, ocp_host_id: 1, command: {command}, secret_password: needle-in-haystack}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A template of three roles."""
    playbooks = tmp_path / "playbooks"
    playbooks.mkdir()
    entries = "".join(f"    - role: {role}\n      tags: [{role}]\n" for role in ROLES)
    (playbooks / "takeover.yml").write_text(f"- hosts: all\n  gather_facts: false\n  roles:\n{entries}")
    for number, (role, body) in enumerate(ROLES.items()):
        for folder in ("meta", "tasks"):
            (tmp_path / "roles" / role / folder).mkdir(parents=True)
        (tmp_path / "roles" / role / "meta" / "subtask.yml").write_text(SUBTASK.format(role=role, number=number))
        (tmp_path / "roles" / role / "tasks" / "main.yml").write_text(f"- name: Do {role}\n  {body}\n")
    (playbooks / "roles").symlink_to(tmp_path / "roles")
    return tmp_path


@pytest.fixture
async def local(resources: Resources, project: Path, inventory_file: Path) -> AsyncIterator[Resources]:
    """Resources on that template, with this machine as the only host."""
    inventory_file.write_text(INVENTORY.format(command="'true'"))
    yield replace(resources, template=template.load(project))


async def submit(resources: Resources) -> TaskInstance:
    hosts = [HostRequest(host_id=1, sql_port=2883)]
    return (await take_over(resources, 1, hosts, creator="admin", trace_id="t"))[0][0]


async def ended(resources: Resources, task: TaskInstance) -> tuple[TaskInstance, list[Subtask]]:
    async with asyncio.timeout(DEADLINE):
        while (found := await instances.get(resources.database, task.id))[0].status is TaskStatus.RUNNING:
            await asyncio.sleep(0.05)
    return found


async def running_role(resources: Resources, task: TaskInstance, role: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            _, subtasks = await instances.get(resources.database, task.id)
            if any(s.role == role and s.status is SubtaskStatus.RUNNING for s in subtasks):
                return
            await asyncio.sleep(0.05)


async def test_a_job_becomes_a_successful_document(local: Resources) -> None:
    async with worker.running(local):
        task, subtasks = await ended(local, await submit(local))

    assert task.status is TaskStatus.SUCCESSFUL
    assert [s.status for s in subtasks] == [SubtaskStatus.SUCCESSFUL] * 3
    assert all(s.executor == local.executor for s in subtasks)
    log, _ = await instances.log(local.database, task.id, subtasks[0].id)
    assert "the port is 2883" in log and "needle-in-haystack" not in log


async def test_a_failure_says_why_and_leaves_the_rest_pending(local: Resources, inventory_file: Path) -> None:
    inventory_file.write_text(INVENTORY.format(command="ls /nonexistent/needle"))
    async with worker.running(local):
        task, subtasks = await ended(local, await submit(local))

    assert task.status is TaskStatus.FAILED
    assert [s.status for s in subtasks] == [SubtaskStatus.SUCCESSFUL, SubtaskStatus.FAILED, SubtaskStatus.PENDING]
    log, _ = await instances.log(local.database, task.id, subtasks[1].id)
    assert "TASK_FAILED" in log and "/nonexistent/needle" in log


async def test_a_host_that_has_left_the_inventory_fails_by_name(local: Resources, inventory_file: Path) -> None:
    task = await submit(local)
    inventory_file.write_text("all: {hosts: {other: {ocp_host_id: 2}}}")
    async with worker.running(local):
        task, subtasks = await ended(local, task)

    log, _ = await instances.log(local.database, task.id, subtasks[0].id)
    assert task.status is TaskStatus.FAILED and "Host 1 does not exist in the inventory" in log


async def test_a_stopping_worker_ends_its_runs_and_says_so(
    local: Resources, inventory_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SHUTDOWN_GRACE", 0.1)
    inventory_file.write_text(INVENTORY.format(command="sleep 9876"))
    async with worker.running(local):
        task = await submit(local)
        await running_role(local, task, "two")

    task, subtasks = await instances.get(local.database, task.id)
    assert task.status is TaskStatus.FAILED and subtasks[1].status is SubtaskStatus.FAILED
    log, _ = await instances.log(local.database, task.id, subtasks[1].id)
    assert "INTERRUPTED" in log


async def test_what_a_dead_worker_left_has_failed_and_says_so(local: Resources) -> None:
    task = await submit(local)
    async with local.database.transaction() as connection:
        ident = "00000000-0000-0000-0000-000000000001"
        await execute(connection, "insert_run", ident=ident, task_id=task.id, executor="dead")

    await worker.perform(local, task.id)

    task, subtasks = await instances.get(local.database, task.id)
    assert task.status is TaskStatus.FAILED
    log, _ = await instances.log(local.database, task.id, subtasks[0].id)
    assert "INTERRUPTED: The worker that ran it has died" in log


async def test_a_task_that_has_ended_is_not_run_again(local: Resources) -> None:
    async with worker.running(local):
        task, subtasks = await ended(local, await submit(local))
    await worker.perform(local, task.id)
    assert await instances.get(local.database, task.id) == (task, subtasks)
