"""From a job to its document: a real worker and a real ansible-runner, with this machine as the host."""

import asyncio
import errno
import logging
import os
import re
import statistics
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from procrastinate import utils
from procrastinate.jobs import Job
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.contextvars import get_contextvars

from service.api.bodies import ObproxiesPath
from service.http import requests
from service.http.envelope import list_data, success_response, trace_id
from service.model import workflow
from service.model.errors import TakeoverError
from service.model.tasks import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus
from service.model.workflow import TAKEOVER
from service.outcome import run_progress
from service.runs import leftovers, run
from service.store.database import execute, fetch
from service.store.queue import QUEUE
from service.tasks import documents, instances, managed_servers, operations
from service.tasks.managed_servers import ServersRequest
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from service.worker import concurrency, job, worker
from service.worker.expiry import EXPIRY_TIMEOUT, Expiry
from service.worker.leases import Leases
from tests.integration.fetched_jobs import claimed
from tests.integration.users import ADMIN
from tests.unit.workflows import write_table

DEADLINE = 60.0  # seconds a takeover of this kind may take at the most

ROLES = {
    "one": "ansible.builtin.debug:\n    msg: the port is {{ obproxy_sql_port }}, {{ secret_password }}"
    " and a restart {{ obproxy_allow_restart | default('unsaid') }}",
    "two": 'ansible.builtin.command: "{{ command }}"\n  changed_when: false',
    "three": "ansible.builtin.debug:\n    msg: done, restart {{ obproxy_allow_restart | default('unsaid') }}\n"
    "  register: done\n  changed_when: false",
}

UNDO = "- name: Undo {role}\n  ansible.builtin.debug:\n    msg: undo {role}\n"
IMPORT = "    - ansible.builtin.import_role: {{name: {role}, tasks_from: rollback}}\n      tags: [{role}]\n"
SUBTASK = "{{name: Subtask {role}, class_name: C, series_id: {number}, timeout: 30, prohibit_rollback: false}}"

INVENTORY = """
all:
  vars: {{obproxy_cluster_id: 1}}
  hosts:
    here: {{ansible_connection: local, ocp_host_id: 1, command: {command}, secret_password: needle-in-haystack}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a workflow of three roles."""
    playbooks = tmp_path / "playbooks"
    playbooks.mkdir()
    entries = "".join(f"    - role: {role}\n      tags: [{role}]\n" for role in ROLES)
    write_table(tmp_path)
    (playbooks / "takeover.yml").write_text(f"- hosts: all\n  gather_facts: false\n  roles:\n{entries}")
    for number, (role, body) in enumerate(ROLES.items()):
        for folder in ("meta", "tasks"):
            (tmp_path / "roles" / role / folder).mkdir(parents=True)
        (tmp_path / "roles" / role / "meta" / "subtask.yml").write_text(SUBTASK.format(role=role, number=number))
        (tmp_path / "roles" / role / "tasks" / "main.yml").write_text(f"- name: Do {role}\n  {body}\n")
        (tmp_path / "roles" / role / "tasks" / "rollback.yml").write_text(UNDO.format(role=role))
    imports = "".join(IMPORT.format(role=role) for role in reversed(ROLES))
    (playbooks / "rollback.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{imports}")
    (playbooks / "roles").symlink_to(tmp_path / "roles")
    return tmp_path


@pytest.fixture
async def local(resources: Resources, project: Path, inventory_file: Path) -> AsyncIterator[Resources]:
    """Resources on that workflow, with this machine as the only host."""
    inventory_file.write_text(INVENTORY.format(command="'true'"))
    yield replace(resources, workflows=workflow.load(project))


async def submit(resources: Resources) -> TaskInstance:
    hosts = [HostRequest(host_id=1, sql_port=2883)]
    return (await take_over(resources, 1, hosts, creator=ADMIN, trace_id="t"))[0][0]


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


async def test_log_lines_of_a_run_name_it(local: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    about: list[dict[str, object]] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                about.append({"action": vars(record).get("action"), **get_contextvars()})

    def broken(*args: object) -> None:
        raise RuntimeError("planted")

    logger, noting = logging.getLogger("service"), Noting()
    logger.addHandler(noting)
    monkeypatch.setattr(run_progress, "finish", broken)
    try:
        async with worker.running(local):
            task, _ = await ended(local, await submit(local))
    finally:
        logger.removeHandler(noting)

    assert task.status is TaskStatus.FAILED
    async with local.database.transaction() as connection:
        rows = await connection.execute("SELECT ident FROM run WHERE task_instance_id = %s", (task.id,))
        (run,) = await rows.fetchall()
    [said] = about
    assert said == {
        "action": "run_lost",
        "task_id": task.id,
        "trace_id": "t",
        "run": str(run["ident"]),
        "role": "three",
    }


async def test_a_failure_has_its_reason_and_leaves_the_rest_pending(local: Resources, inventory_file: Path) -> None:
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


async def test_a_run_that_cannot_start_fails_with_the_reason(local: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/dev/shm/run")

    monkeypatch.setattr(run, "start", full)
    async with worker.running(local):
        task, subtasks = await ended(local, await submit(local))

    assert [s.status for s in subtasks] == [SubtaskStatus.FAILED, SubtaskStatus.PENDING, SubtaskStatus.PENDING]
    log, _ = await instances.log(local.database, task.id, subtasks[0].id)
    assert "NOT_STARTED: The run cannot start: [Errno 28] No space left on device: '/dev/shm/run'." in log


async def test_a_stopping_worker_requeues_its_runs_and_the_next_one_finishes_them(
    local: Resources, inventory_file: Path
) -> None:
    hasty = replace(local, settings=local.settings.model_copy(update={"shutdown_grace": 0.1}))
    inventory_file.write_text(INVENTORY.format(command="sleep 9876"))
    async with worker.running(hasty):
        task = await submit(local)
        await running_role(local, task, "two")

    task, subtasks = await instances.get(local.database, task.id)
    assert task.status is TaskStatus.RUNNING
    assert [s.status for s in subtasks] == [SubtaskStatus.SUCCESSFUL, SubtaskStatus.READY, SubtaskStatus.PENDING]
    inventory_file.write_text(INVENTORY.format(command="'true'"))
    async with worker.running(local):
        task, subtasks = await ended(local, task)
    assert task.status is TaskStatus.SUCCESSFUL
    log, _ = await instances.log(local.database, task.id, subtasks[1].id)
    assert "The worker is stopping" in log and log.count("############{EXECUTE}") == 2


@pytest.mark.parametrize(("setting", "runs"), [(0, 7), (3, 3)])
async def test_a_worker_runs_as_many_at_once_as_set_or_as_the_machine_allows(
    local: Resources, monkeypatch: pytest.MonkeyPatch, setting: int, runs: int
) -> None:
    started: asyncio.Queue[int] = asyncio.Queue()

    async def work(_resources: Resources, _app: object, queue: str, at_once: int, grace: float) -> None:
        if queue == QUEUE:
            started.put_nowait(at_once)

    monkeypatch.setattr(worker, "_work_forever", work)
    monkeypatch.setattr(concurrency, "of_this_machine", lambda: 7)
    settings = local.settings.model_copy(update={"worker_concurrency": setting})

    async with asyncio.timeout(DEADLINE), worker.running(replace(local, settings=settings)):
        assert await started.get() == runs


async def test_an_expired_worker_registers_again(local: Resources) -> None:
    async with worker.running(local):
        first = await submit(local)
        await ended(local, first)
        async with local.database.transaction() as connection:
            await connection.execute("DELETE FROM procrastinate_workers")
            await connection.execute("DELETE FROM obproxy_server")
        second, _ = await ended(local, await submit(local))

    assert (second.status, second.id != first.id) == (TaskStatus.SUCCESSFUL, True)


async def test_the_leftovers_of_a_crashed_worker_fail_with_that_reason(local: Resources) -> None:
    task = await submit(local)
    async with local.database.transaction() as connection:
        ident = "00000000-0000-0000-0000-000000000001"
        await execute(connection, "insert_run", ident=ident, task_id=task.id, executor="dead")
    now = [0.0]
    leases = Leases(local.database, Expiry(local.database, lambda: now[0]))
    await leases.expiry.observe()
    now[0] += EXPIRY_TIMEOUT

    await job.perform(local, task.id, job=await claimed(local), leases=leases)

    task, subtasks = await instances.get(local.database, task.id)
    assert task.status is TaskStatus.FAILED
    log, _ = await instances.log(local.database, task.id, subtasks[0].id)
    assert "INTERRUPTED: The worker that ran it has died" in log


async def test_a_task_that_has_ended_is_not_run_again(local: Resources) -> None:
    async with worker.running(local):
        task, subtasks = await ended(local, await submit(local))
    done = Job(queue="q", lock=None, queueing_lock=None, task_name="t")
    await job.perform(local, task.id, job=done, leases=Leases(local.database))
    assert await instances.get(local.database, task.id) == (task, subtasks)


async def test_retry_resumes_at_the_failed_subtask_with_a_separate_log(local: Resources, inventory_file: Path) -> None:
    inventory_file.write_text(INVENTORY.format(command="ls /nonexistent"))
    async with worker.running(local):
        task, before = await ended(local, await submit(local))
        inventory_file.write_text(INVENTORY.format(command="'true'"))
        await operations.retry_task(local, task.id)
        task, after = await ended(local, task)

    assert task.status is TaskStatus.SUCCESSFUL and task.operation is Operation.RETRY
    assert after[0] == before[0]  # what had succeeded did not run again
    assert (after[1].operation, after[1].run_time) == (Operation.RETRY, 2)
    log, _ = await instances.log(local.database, task.id, after[1].id)
    assert [line[12:].split("}")[0] for line in log.splitlines() if line.startswith("####")] == ["{EXECUTE", "{RETRY"]


async def test_skip_counts_as_done_and_resumes_after_it(local: Resources, inventory_file: Path) -> None:
    inventory_file.write_text(INVENTORY.format(command="ls /nonexistent"))
    async with worker.running(local):
        task, subtasks = await ended(local, await submit(local))
        await operations.skip_subtask(local, task.id, subtasks[1].id)
        task, subtasks = await ended(local, task)

    assert task.status is TaskStatus.SUCCESSFUL
    assert [(s.status, s.operation) for s in subtasks] == [
        (SubtaskStatus.SUCCESSFUL, Operation.EXECUTE),
        (SubtaskStatus.SUCCESSFUL, Operation.SKIP),
        (SubtaskStatus.SUCCESSFUL, Operation.EXECUTE),
    ]


async def test_cancel_ends_the_run_and_everything_it_started(local: Resources, inventory_file: Path) -> None:
    inventory_file.write_text(INVENTORY.format(command="sleep 98765"))
    async with worker.running(local):
        task = await submit(local)
        await running_role(local, task, "two")
        subtask = (await instances.get(local.database, task.id))[1][1]
        await operations.cancel_subtask(local, task.id, subtask.id)
        task, subtasks = await ended(local, task)

    assert task.status is TaskStatus.FAILED
    assert [(s.status, s.operation) for s in subtasks] == [
        (SubtaskStatus.SUCCESSFUL, Operation.EXECUTE),
        (SubtaskStatus.FAILED, Operation.CANCEL),
        (SubtaskStatus.PENDING, Operation.EXECUTE),
    ]
    assert not [p for p in psutil.process_iter(["cmdline"]) if "98765" in (p.info["cmdline"] or [])]


async def test_a_subtask_that_takes_too_long_fails_with_limit_and_elapsed(
    local: Resources, project: Path, inventory_file: Path
) -> None:
    meta = project / "roles" / "two" / "meta" / "subtask.yml"
    meta.write_text(meta.read_text().replace("timeout: 30", "timeout: 1"))
    inventory_file.write_text(INVENTORY.format(command="sleep 987654"))
    limited = replace(local, workflows=workflow.load(project))
    async with worker.running(limited):
        task, subtasks = await ended(limited, await submit(limited))

    assert task.status is TaskStatus.FAILED
    assert (subtasks[1].status, subtasks[1].operation) == (SubtaskStatus.FAILED, Operation.EXECUTE)
    log, _ = await instances.log(local.database, task.id, subtasks[1].id)
    assert re.search(r"TIMEOUT: .*1(\.\d)? s", log), log
    assert not [p for p in psutil.process_iter(["cmdline"]) if "987654" in (p.info["cmdline"] or [])]


async def test_a_time_limit_includes_the_time_before_a_requeue(
    local: Resources, inventory_file: Path, project: Path
) -> None:
    meta = project / "roles" / "two" / "meta" / "subtask.yml"
    meta.write_text(meta.read_text().replace("timeout: 30", "timeout: 3600"))
    local = replace(local, workflows=workflow.load(project))
    hasty = replace(local, settings=local.settings.model_copy(update={"shutdown_grace": 0.1}))
    inventory_file.write_text(INVENTORY.format(command="sleep 9876543"))
    async with worker.running(hasty):
        task = await submit(local)
        await running_role(local, task, "two")
    requeued = (await instances.get(local.database, task.id))[1][1]
    assert 0.0 < requeued.spent < requeued.timeout == 3600
    async with local.database.transaction() as connection:  # as if it had been stopped two seconds before its limit
        await connection.execute("UPDATE subtask_instance SET spent = 3598 WHERE id = %s", (requeued.id,))

    async with worker.running(local):
        task, subtasks = await ended(local, task)

    assert (subtasks[1].status, subtasks[1].spent) == (SubtaskStatus.FAILED, 0.0)
    log, _ = await instances.log(local.database, task.id, subtasks[1].id)
    assert re.search(r"TIMEOUT: .*3600(\.\d)? s", log), log


async def test_a_cancel_that_races_with_success_ends_in_one_of_the_two(local: Resources, inventory_file: Path) -> None:
    inventory_file.write_text(INVENTORY.format(command="sleep 0.4"))
    seen = set()
    async with worker.running(local):
        for attempt in range(5):
            task = await submit(local)
            await running_role(local, task, "two")
            await asyncio.sleep(0.12 * attempt)
            _, subtasks = await instances.get(local.database, task.id)
            with suppress(TakeoverError):  # it has ended
                await operations.cancel_subtask(local, task.id, subtasks[1].id)
            task, subtasks = await ended(local, task)
            seen.add(tuple((s.status, s.operation) for s in subtasks))
            async with local.database.transaction() as connection:
                await connection.execute("DELETE FROM obproxy_server")

    done, canceled = (SubtaskStatus.SUCCESSFUL, Operation.EXECUTE), (SubtaskStatus.FAILED, Operation.CANCEL)
    waiting = (SubtaskStatus.PENDING, Operation.EXECUTE)
    assert seen <= {(done, canceled, waiting), (done, done, canceled), (done, done, done)}
    assert (done, canceled, waiting) in seen


async def test_rollback_undoes_in_reverse_order_and_leaves_no_server(local: Resources, inventory_file: Path) -> None:
    inventory_file.write_text(INVENTORY.format(command="ls /nonexistent"))
    async with worker.running(local):
        task, _ = await ended(local, await submit(local))
        await operations.rollback_task(local, task.id)
        task, subtasks = await ended(local, task)

    assert (task.status, task.operation) == (TaskStatus.SUCCESSFUL, Operation.ROLLBACK)
    assert [(s.status, s.operation) for s in subtasks] == [
        (SubtaskStatus.PENDING, Operation.ROLLBACK),
        (SubtaskStatus.PENDING, Operation.ROLLBACK),
        (SubtaskStatus.PENDING, Operation.EXECUTE),
    ]
    async with local.database.autocommit() as connection:  # their times are equal if one transaction has recorded both
        rows = await connection.execute("SELECT subtask_id FROM subtask_log WHERE content LIKE '%undo %' ORDER BY id")
        undone = [row["subtask_id"] for row in await rows.fetchall()]
    assert undone == [subtasks[1].id, subtasks[0].id]
    log, _ = await instances.log(local.database, task.id, subtasks[0].id)
    assert "undo one" in log
    async with local.database.transaction() as connection:
        assert not await fetch(connection, "server_by_id", server_id=subtasks[0].task_instance_id)
    assert (await submit(local)).id != task.id  # the host is free again


async def test_a_failed_rollback_can_be_retried_and_resumes(
    local: Resources, project: Path, inventory_file: Path
) -> None:
    inventory_file.write_text(INVENTORY.format(command="ls /nonexistent"))
    undo = project / "roles" / "one" / "tasks" / "rollback.yml"
    undo.write_text(undo.read_text().replace("debug", "fail"))
    async with worker.running(local):
        task, _ = await ended(local, await submit(local))
        await operations.rollback_task(local, task.id)
        task, subtasks = await ended(local, task)
        assert (task.status, task.operation) == (TaskStatus.FAILED, Operation.ROLLBACK)
        assert [s.status for s in subtasks] == [SubtaskStatus.FAILED, SubtaskStatus.PENDING, SubtaskStatus.PENDING]
        undo.write_text(undo.read_text().replace("fail", "debug"))
        await operations.retry_subtask(local, task.id, subtasks[0].id)
        task, subtasks = await ended(local, task)

    assert (task.status, task.operation) == (TaskStatus.SUCCESSFUL, Operation.ROLLBACK)
    assert {s.status for s in subtasks} == {SubtaskStatus.PENDING}


async def greet(request: Request) -> Response:
    """Submit the workflow `greeting` on OBProxy servers, as the endpoints in service/api/obproxy.py do."""
    path = requests.parse_path(request, ObproxiesPath, context={"hosts_limit": 10})
    servers = ServersRequest(object_name="x", cluster_id=path.id, server_ids=path.obproxy_ids)
    resources = requests.resources(request)
    submitted = await managed_servers.submit(
        resources, resources.workflows["greeting"], servers, creator=request.user, trace_id=trace_id(request)
    )
    return success_response(request, list_data(documents.task_instance(*instance) for instance in submitted))


async def test_a_workflow_is_a_playbook_its_roles_and_a_route(
    local: Resources, project: Path, app: Starlette, client: httpx.AsyncClient
) -> None:
    """Follow CONTRIBUTING.md."""
    role = project / "roles" / "greet"
    for name, text in {
        "meta/subtask.yml": SUBTASK.format(role="greet", number=0),
        "tasks/main.yml": "- name: Greet\n  ansible.builtin.debug:\n    msg: hello from {{ obproxy_sql_port }}\n",
    }.items():
        (role / name).parent.mkdir(parents=True)
        (role / name).write_text(text)
    (project / "playbooks" / "greeting.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  roles:\n    - role: greet\n      tags: [greet]\n"
    )
    write_table(project, "greeting: {task_name: Greet, playbook: greeting.yml, server_status: REFRESHING}\n")
    resources = replace(local, workflows=workflow.load(project))
    app.state.resources = replace(app.state.resources, workflows=resources.workflows)
    app.router.routes.insert(0, Route("/clusters/{id}/obproxies/{obproxyIds}/greet", greet, methods=["POST"]))

    async with worker.running(resources):
        taken, _ = await ended(resources, await submit(resources))
        assert taken.obproxy_server_id is not None
        answer = await client.post(f"/clusters/1/obproxies/{taken.obproxy_server_id}/greet")
        (document,) = answer.json()["data"]["contents"]
        task, _ = await instances.get(resources.database, document["id"])
        task, subtasks = await ended(resources, task)
    shown = (await client.get(f"/api/v2/tasks/instances/{task.id}")).json()["data"]

    assert (task.workflow, task.name, task.status) == ("greeting", "Greet", TaskStatus.SUCCESSFUL)
    assert [subtask.role for subtask in subtasks] == ["greet"]
    assert (shown["name"], shown["status"], len(shown["subtasks"])) == ("Greet", "SUCCESSFUL", 1)
    assert (shown["prohibitRollback"], shown["creator"]["name"]) == (True, "admin")
    log, _ = await instances.log(resources.database, task.id, subtasks[0].id)
    assert "hello from 2883" in log
    async with resources.database.autocommit() as connection:
        (server,) = await fetch(connection, "server_by_id", server_id=taken.obproxy_server_id)
    assert server["status"] == "RUNNING"


async def test_a_task_of_another_version_is_left_to_others(local: Resources) -> None:
    task = await submit(local)
    known = local.workflows[TAKEOVER]
    fewer = {TAKEOVER: replace(known, subtasks=known.subtasks[:2])}

    with pytest.raises(job.JobPostponed, match=r"no role .*three"):
        await job.perform(
            replace(local, workflows=fewer), task.id, job=await claimed(local), leases=Leases(local.database)
        )

    assert (await instances.get(local.database, task.id))[1][0].status is SubtaskStatus.READY


async def test_a_task_of_a_workflow_of_another_version_is_left_to_others(local: Resources) -> None:
    task = await submit(local)

    with pytest.raises(job.JobPostponed, match="no workflow takeover"):
        await job.perform(
            replace(local, workflows={}), task.id, job=await claimed(local), leases=Leases(local.database)
        )

    assert (await instances.get(local.database, task.id))[1][0].status is SubtaskStatus.READY


async def test_a_cluster_has_only_as_many_runs_as_it_may(local: Resources) -> None:
    limited = replace(local, settings=local.settings.model_copy(update={"cluster_concurrency": 1}))
    task = await submit(local)
    async with local.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO run (ident, task_instance_id, executor) SELECT gen_random_uuid(), id, 'x' FROM task_instance"
        )
        await connection.execute("UPDATE task_instance SET status = 'FAILED', finish_time = now()")
        await connection.execute("UPDATE obproxy_server SET status = 'TAKINGOVER'")
    waiting = await submit(local)

    with pytest.raises(job.JobPostponed, match="has 1 takeovers running"):
        await job.perform(limited, waiting.id, job=await claimed(local), leases=Leases(local.database))

    assert (await instances.get(local.database, waiting.id))[1][0].status is SubtaskStatus.READY
    assert task.id != waiting.id


async def test_where_a_restart_is_allowed_one_takeover_runs_at_a_time(local: Resources, inventory_file: Path) -> None:
    """The lock around a restart: it is the cluster's, over all workers, and it holds for a rollback as well."""
    allowing = INVENTORY.replace("obproxy_cluster_id: 1", "obproxy_cluster_id: 1, obproxy_allow_restart: 'yes'")
    inventory_file.write_text(allowing.format(command="sleep 1.5"))
    hosts = allowing.format(command="'true'").replace("here:", "there:").replace("ocp_host_id: 1", "ocp_host_id: 2")
    inventory_file.with_name("more.yml").write_text(hosts)
    both = [HostRequest(host_id=number, sql_port=2883) for number in (1, 2)]
    async with worker.running(local):
        tasks = await take_over(local, 1, both, creator=ADMIN, trace_id="t")
        for task, _ in tasks:
            await ended(local, task)
    async with local.database.transaction() as connection:
        runs = await (
            await connection.execute("SELECT start_time, finish_time FROM run ORDER BY start_time")
        ).fetchall()
    assert len(runs) == 2 and runs[0]["finish_time"] <= runs[1]["start_time"]


async def test_where_a_request_allows_a_restart_one_takeover_runs_at_a_time(
    local: Resources, inventory_file: Path
) -> None:
    """The other takeovers wait, whether or not they have the permission: their OBProxy servers serve the clients."""
    inventory_file.write_text(INVENTORY.format(command="sleep 1.5"))
    there = INVENTORY.format(command="sleep 1.5").replace("here:", "there:").replace("ocp_host_id: 1", "ocp_host_id: 2")
    inventory_file.with_name("more.yml").write_text(there)
    tasks = [
        (await take_over(local, 1, hosts, creator=ADMIN, trace_id="t", allow_restart=allow_restart))[0][0]
        for hosts, allow_restart in (
            ([HostRequest(host_id=1, sql_port=2883)], None),
            ([HostRequest(host_id=2, sql_port=2883)], True),
        )
    ]
    async with worker.running(local):
        for task in tasks:
            await ended(local, task)
    async with local.database.transaction() as connection:
        runs = await (
            await connection.execute("SELECT start_time, finish_time FROM run ORDER BY start_time")
        ).fetchall()
    assert len(runs) == 2 and runs[0]["finish_time"] <= runs[1]["start_time"]


@pytest.mark.parametrize(
    ("clusters", "requests", "heard"), [("false", True, "True"), ("true", False, "False"), ("true", None, "True")]
)
async def test_every_run_keeps_to_the_restart_permission_of_the_request(
    local: Resources, inventory_file: Path, clusters: str, requests: bool | None, heard: str
) -> None:
    inventory = INVENTORY.replace("obproxy_cluster_id: 1", f"obproxy_cluster_id: 1, obproxy_allow_restart: {clusters}")
    inventory_file.write_text(inventory.format(command="sleep 60"))
    hosts = [HostRequest(host_id=1, sql_port=2883)]
    ((task, _),) = await take_over(local, 1, hosts, creator=ADMIN, trace_id="t", allow_restart=requests)
    impatient = replace(local, settings=local.settings.model_copy(update={"shutdown_grace": 0}))
    async with worker.running(impatient):
        await running_role(local, task, "two")  # then it is requeued
    inventory_file.write_text(inventory.format(command="ls /nonexistent"))
    async with worker.running(local):
        task, subtasks = await ended(local, task)
        assert task.status is TaskStatus.FAILED
        inventory_file.write_text(inventory.format(command="'true'"))
        await operations.retry_task(local, task.id)
        task, subtasks = await ended(local, task)
    assert task.status is TaskStatus.SUCCESSFUL
    first, _ = await instances.log(local.database, task.id, subtasks[0].id)
    last, _ = await instances.log(local.database, task.id, subtasks[2].id)
    assert f"and a restart {heard}" in first and f"done, restart {heard}" in last


@pytest.mark.parametrize("exception", [ValueError(), TakeoverError()])
def test_only_canceled_or_postponed_jobs_are_requeued(exception: Exception) -> None:
    queued = Job(queue="q", lock=None, queueing_lock=None, task_name="t")
    strategy = worker.RequeueStrategy()
    assert strategy.get_retry_decision(exception=exception, job=queued) is None
    assert strategy.get_retry_decision(exception=asyncio.CancelledError(), job=queued)
    assert strategy.get_retry_decision(exception=job.JobPostponed(), job=queued)


async def test_the_delay_of_a_postponed_job_does_not_depend_on_the_clock_of_the_worker(
    local: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(local)
    queued, now = await claimed(local), utils.utcnow
    monkeypatch.setattr(utils, "utcnow", lambda: now() + timedelta(hours=1))

    decision = worker.RequeueStrategy().get_retry_decision(exception=job.JobPostponed(delay=7), job=queued)
    assert decision is not None
    await local.queue.app.job_manager.retry_job(queued, retry_at=decision.retry_at)

    async with local.database.transaction() as connection:
        rows = await connection.execute("SELECT scheduled_at - now() AS delay FROM procrastinate_jobs")
        (row,) = await rows.fetchall()
    assert timedelta(seconds=5) < row["delay"] <= timedelta(seconds=7)


def test_jobs_that_wait_for_their_cluster_leave_room_for_others() -> None:
    delays = {waiting: [job.delay_in_full_cluster(waiting) for _ in range(1000)] for waiting in (1, 40, 1000)}

    assert set(delays[1]) == set(delays[40]) == {job.REQUEUE_DELAY}
    assert statistics.mean(delays[1000]) == pytest.approx(1000 / job.MAX_ATTEMPT_RATE, rel=0.2)
    assert min(delays[1000]) < 10 < 90 < max(delays[1000]), "some are always soon due"
    assert max(job.delay_in_full_cluster(100_000) for _ in range(1000)) <= job.MAX_REQUEUE_DELAY


async def test_a_postponed_job_is_due_after_the_clock_of_the_database_was_set_back(local: Resources) -> None:
    await submit(local)
    due = {}
    for delay in ("1 day", "5 minutes"):
        async with local.database.transaction() as connection:
            await connection.execute(
                "UPDATE procrastinate_jobs SET scheduled_at = now() + %(delay)s::interval", {"delay": delay}
            )
        await worker.requeue_stalled_jobs(local, Expiry(local.database))
        async with local.database.transaction() as connection:
            rows = await connection.execute("SELECT scheduled_at <= now() AS due FROM procrastinate_jobs")
            due[delay] = [row["due"] for row in await rows.fetchall()]
    assert due == {"1 day": [True], "5 minutes": [False]}


async def test_a_task_with_a_live_run_is_left_to_its_worker(local: Resources) -> None:
    task = await submit(local)
    async with local.database.transaction() as connection:
        ident = "00000000-0000-0000-0000-000000000001"
        await execute(connection, "insert_run", ident=ident, task_id=task.id, executor="alive")

    with pytest.raises(job.JobPostponed, match="a run with a valid lease"):
        await job.perform(local, task.id, job=await claimed(local), leases=Leases(local.database))

    assert (await instances.get(local.database, task.id))[1][0].status is SubtaskStatus.READY


async def test_a_lost_cancel_notification_is_noticed_at_the_lease_renewal(
    local: Resources, inventory_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory_file.write_text(INVENTORY.format(command="sleep 98766"))

    async def lost(jobs: object) -> None:
        pass

    monkeypatch.setattr(leftovers, "TIMEOUT", DEADLINE)
    monkeypatch.setattr(local.queue, "abort_jobs", lost)
    async with worker.running(local):
        task = await submit(local)
        await running_role(local, task, "two")
        subtask = (await instances.get(local.database, task.id))[1][1]
        await operations.cancel_subtask(local, task.id, subtask.id)
        task, subtasks = await ended(local, task)

    assert (subtasks[1].status, subtasks[1].operation) == (SubtaskStatus.FAILED, Operation.CANCEL)
    log, _ = await instances.log(local.database, task.id, subtasks[1].id)
    assert "Nothing that this run started is left on the host." in log


async def test_a_worker_continues_after_all_connections_were_terminated(local: Resources, inventory_file: Path) -> None:
    inventory_file.write_text(INVENTORY.format(command="sleep 2"))
    async with worker.running(local):
        task = await submit(local)
        await running_role(local, task, "two")
        await cut_connections(local)
        task, subtasks = await ended(local, task)
        assert task.status is TaskStatus.SUCCESSFUL
        await cut_connections(local)
        async with local.database.transaction() as connection:
            await connection.execute("UPDATE obproxy_server SET status = 'TAKINGOVER'")
        again, _ = await ended(local, await submit(local))

    assert again.status is TaskStatus.SUCCESSFUL and again.id != task.id
    log, _ = await instances.log(local.database, task.id, subtasks[1].id)
    assert log.count("############{EXECUTE}") == 1


async def cut_connections(resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
