"""Prechecks: a task instance without an OBProxy server, all of whose subtasks run, and the takeover after it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from service.fleet import available_hosts
from service.model.tasks import SubtaskStatus, TaskStatus
from service.model.workflow import PRECHECK, TAKEOVER
from service.outcome.run_progress import Change, Code, Ended, Started, Verdict
from service.store.database import fetch
from service.tasks import instances, operations, prechecks, requests
from service.tasks.errors import (
    AlreadyManaged,
    HostBusy,
    IdempotencyKeyReused,
    NoHostPassed,
    RollbackProhibited,
    Superseded,
)
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over
from service.worker import job, retention
from service.worker.leases import Leases
from tests.integration.fetched_jobs import claimed
from tests.integration.http_helpers import count_rows, take_over_body
from tests.integration.sample_tasks import advance
from tests.integration.users import ADMIN

PATH = "/api/v2/obproxy/clusters/1/takeOver/precheck"
TASKS = "/api/v2/tasks/instances"
FINDINGS: Code = "FINDINGS"


async def submit(resources: Resources, *, check: bool = True, port: int = 2883, **options: Any) -> int:
    asked = [HostRequest(host_id=1, sql_port=port, password=options.pop("password", None))]
    submitted = await take_over(resources, 1, asked, creator=ADMIN, trace_id="t", check=check, **options)
    return submitted[0][0].id


async def run(
    resources: Resources,
    task_id: int,
    roles: Sequence[str],
    found: Sequence[str] = (),
    ended: Mapping[str, Code] = MappingProxyType({}),
) -> None:
    """Record the events of a run of `roles`; those in `found` have findings, those in `ended` end the run."""
    changes: list[Change] = []
    for role in roles:
        code: Code = ended.get(role, FINDINGS if role in found else "")
        verdict = Verdict.FAILED if code else Verdict.SUCCESSFUL
        changes += [
            Started(role=role),
            Ended(role=role, verdict=verdict, code=code, message="Rule: a. Found: b. Fix: c."),
        ]
        if role in ended:
            break
    await Recorder(resources, task_id).record(changes)


async def statuses(resources: Resources, task_id: int) -> list[str]:
    return [subtask.status.value for subtask in (await instances.get(resources.database, task_id))[1]]


async def secrets(resources: Resources, task_id: int) -> list[str]:
    async with resources.database.autocommit() as connection:
        rows = await fetch(connection, "secrets_of_task", task_id=task_id)
    return [resources.secrets.decrypt(row["ciphertext"]).get_secret_value() for row in rows]


@pytest.fixture
def roles(resources: Resources) -> list[str]:
    return resources.workflows[PRECHECK].roles


async def test_a_precheck_has_the_subtasks_of_a_takeover_and_no_server(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    answer = await client.post(PATH, json=take_over_body(1, 2))

    assert answer.status_code == 200 and "/requests/" in answer.headers["Location"]
    documents = answer.json()["data"]["contents"]
    assert [document["hostId"] for document in documents] == [1, 2]
    names = [subtask.name for subtask in resources.workflows[TAKEOVER].subtasks]
    assert [subtask["name"] for subtask in documents[0]["subtasks"]] == names
    assert documents[0]["name"] == "Check obproxy takeover"
    strings = documents[0]["context"]["stringMap"]
    assert (strings["check_mode"], strings["sql_port"], strings["obproxy_server_id"]) == ("true", "2883", "")
    assert (await count_rows(resources))["obproxy_server"] == 0


async def test_a_finding_fails_a_subtask_and_the_next_one_runs(resources: Resources, roles: list[str]) -> None:
    task_id = await submit(resources)

    await run(resources, task_id, roles[:4], found=[roles[1], roles[3]])
    task, _ = await instances.get(resources.database, task_id)
    assert task.status is TaskStatus.RUNNING
    assert (await statuses(resources, task_id))[:6] == [
        *("SUCCESSFUL", "FAILED", "SUCCESSFUL", "FAILED"),
        *("READY", "PENDING"),
    ]
    await run(resources, task_id, roles[4:], found=[roles[-1]])

    task, subtasks = await instances.get(resources.database, task_id)
    assert task.status is TaskStatus.FAILED
    assert [s.role for s in subtasks if s.status is SubtaskStatus.FAILED] == [roles[1], roles[3], roles[-1]]


async def test_a_request_has_the_findings_of_all_subtasks(resources: Resources, roles: list[str]) -> None:
    task_id = await submit(resources)
    await run(resources, task_id, roles, found=[roles[1], roles[4]])

    task, subtasks = await instances.get(resources.database, task_id)
    assert task.request_id is not None
    (host,) = await requests.hosts(resources.database, task.request_id)

    assert [finding.subtask for finding in host.findings] == [subtasks[1].name, subtasks[4].name]
    assert all("Rule: a. Found: b. Fix: c." in finding.message for finding in host.findings)


async def test_an_error_ends_a_precheck_and_a_retry_repeats_what_failed(resources: Resources, roles: list[str]) -> None:
    task_id = await submit(resources)
    await run(resources, task_id, roles, found=[roles[0]], ended={roles[2]: "UNREACHABLE"})
    assert await statuses(resources, task_id) == ["FAILED", "SUCCESSFUL", "FAILED"] + ["PENDING"] * 9
    with pytest.raises(RollbackProhibited):
        await operations.rollback_task(resources, task_id)

    await operations.retry_task(resources, task_id)
    assert (await statuses(resources, task_id))[:3] == ["READY", "SUCCESSFUL", "READY"]
    await run(resources, task_id, [roles[0], *roles[2:]])

    assert set(await statuses(resources, task_id)) == {"SUCCESSFUL"}


async def test_one_subtask_is_retried_or_skipped_alone(resources: Resources, roles: list[str]) -> None:
    task_id = await submit(resources)
    await run(resources, task_id, roles, found=roles[1:4])
    ids = [subtask.id for subtask in (await instances.get(resources.database, task_id))[1]]

    await operations.retry_subtask(resources, task_id, ids[2])
    await run(resources, task_id, [roles[2]])
    assert (await statuses(resources, task_id))[:4] == ["SUCCESSFUL", "FAILED", "SUCCESSFUL", "FAILED"]
    assert (await instances.get(resources.database, task_id))[0].status is TaskStatus.FAILED
    for subtask_id in (ids[1], ids[3]):
        await operations.skip_subtask(resources, task_id, subtask_id)
        await Recorder(resources, task_id).complete_skipped()

    assert (await instances.get(resources.database, task_id))[0].status is TaskStatus.SUCCESSFUL


async def test_a_precheck_that_is_interrupted_fails_at_the_subtask_that_ran(
    resources: Resources, roles: list[str]
) -> None:
    task_id = await submit(resources)
    await run(resources, task_id, roles[:2], found=[roles[0]])
    recorder = Recorder(resources, task_id)
    await recorder.record([Started(role=roles[2])])

    assert await recorder.expire({})

    assert (await statuses(resources, task_id))[:4] == ["FAILED", "SUCCESSFUL", "FAILED", "PENDING"]


async def test_a_host_that_left_the_inventory_fails_the_precheck(
    resources: Resources,
) -> None:
    task_id = await submit(resources)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE task_instance SET host_id = 999 WHERE id = %s", [task_id])
    await job.perform(resources, task_id, job=await claimed(resources), leases=Leases(resources.database))
    assert (await statuses(resources, task_id))[:2] == ["FAILED", "PENDING"]


async def test_a_precheck_excludes_a_takeover_while_it_runs_and_leaves_its_traces_alone(
    resources: Resources, roles: list[str]
) -> None:
    failed = await submit(resources, check=False)
    await advance(resources, failed, [], roles[0], "broken")
    checked = await submit(resources)
    with pytest.raises(HostBusy):
        await submit(resources, check=False)
    (host,) = [each for each in await available_hosts.find(resources) if each.host.id == 1]
    assert host.last and (host.last.id, host.busy) == (checked, True)
    await run(resources, checked, roles)

    (host,) = [each for each in await available_hosts.find(resources) if each.host.id == 1]
    assert host.last and (host.last.id, host.busy) == (failed, False)
    await operations.retry_task(resources, failed)  # the precheck has not superseded it
    await advance(resources, failed, roles)
    with pytest.raises(AlreadyManaged):
        await submit(resources)


async def test_a_later_task_instance_for_the_same_port_supersedes_a_precheck(
    resources: Resources, roles: list[str]
) -> None:
    first, other = await submit(resources), None
    await run(resources, first, roles, found=[roles[0]])
    other = await submit(resources, port=3883)
    await run(resources, other, roles, found=[roles[0]])
    taken_over = await submit(resources, check=False)
    await advance(resources, taken_over, [], roles[0], "broken")

    with pytest.raises(Superseded, match=f"use task instance {taken_over}"):
        await operations.retry_task(resources, first)
    await operations.retry_task(resources, other)


async def test_passwords_of_a_precheck_are_kept_for_the_takeover_after_it(
    resources: Resources, roles: list[str]
) -> None:
    checked = await submit(resources, password=SecretStr("Typed#1"))
    await run(resources, checked, roles)
    assert await secrets(resources, checked) == ["Typed#1"]

    taken_over = await submit(resources, check=False, checked={1: checked})
    assert await secrets(resources, taken_over) == ["Typed#1"]
    await retention.apply(resources)
    assert await secrets(resources, checked) == []
    await advance(resources, taken_over, roles)
    assert await secrets(resources, taken_over) == []


async def test_passwords_of_a_precheck_without_a_takeover_are_deleted_after_a_day(
    resources: Resources, roles: list[str]
) -> None:
    checked = await submit(resources, password=SecretStr("Typed#1"))
    await run(resources, checked, roles)
    await retention.apply(resources)
    assert await secrets(resources, checked) == ["Typed#1"]
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE task_instance SET finish_time = now() - interval '25 hours'")
    await retention.apply(resources)
    assert await secrets(resources, checked) == []


async def test_an_idempotency_key_stands_for_a_check_or_for_a_takeover(resources: Resources) -> None:
    checked = await submit(resources, idempotency_key="k")
    assert await submit(resources, idempotency_key="k") == checked
    with pytest.raises(IdempotencyKeyReused):
        await submit(resources, check=False, idempotency_key="k")


async def test_a_skipped_finding_does_not_pass(resources: Resources, roles: list[str]) -> None:
    checked = await submit(resources)
    await run(resources, checked, roles, found=[roles[3]])
    _, subtasks = await instances.get(resources.database, checked)
    await operations.skip_subtask(resources, checked, subtasks[3].id)
    await Recorder(resources, checked).complete_skipped()
    assert (await instances.get(resources.database, checked))[0].status is TaskStatus.SUCCESSFUL

    assert await prechecks.passed(resources, 1) == []
    with pytest.raises(NoHostPassed):
        await prechecks.take_over_passed(resources, 1, creator=ADMIN, trace_id="t")


async def test_a_host_that_a_retry_has_taken_over_since_its_check_is_left_out(
    resources: Resources, roles: list[str]
) -> None:
    failed = await submit(resources, check=False)
    await advance(resources, failed, [], roles[0], "broken")
    checked = await submit(resources)
    await run(resources, checked, roles)
    other = await submit(resources, port=3883)
    await run(resources, other, roles)
    before = [task.id for task in await prechecks.passed(resources, 2)]
    await operations.retry_task(resources, failed)
    await advance(resources, failed, roles)

    assert (before, await prechecks.passed(resources, 2)) == ([checked], [])
    assert [task.id for task in await prechecks.passed(resources, 3)] == [other]


async def test_a_check_passes_for_a_day_and_until_the_next_one(resources: Resources, roles: list[str]) -> None:
    first = await submit(resources)
    await run(resources, first, roles)
    assert [task.id for task in await prechecks.passed(resources, 1)] == [first]

    async with resources.database.transaction() as connection:
        old = "UPDATE task_instance SET finish_time = now() - interval '25 hours' WHERE id = %s"
        await connection.execute(old.encode(), [first])
    assert await prechecks.passed(resources, 1) == []

    second = await submit(resources)
    assert await prechecks.passed(resources, 1) == []
    await run(resources, second, roles)
    assert [task.id for task in await prechecks.passed(resources, 2)] == [second]
