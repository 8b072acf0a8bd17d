"""Commands against a running service, called in this process: names for ids, paging, outcomes, every listing."""

import asyncio
import io
import json
import os
import re
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from service.fleet import discoveries
from service.fleet.discoveries import DiscoveryState
from service.model.settings import Settings
from service.model.workflow import RELEASE, TAKEOVER
from service.outcome.host_findings import HostFindings, Outcome
from service.outcome.run_progress import Ended, Verdict
from service.store.database import CONNECTION_TIMEOUT, execute, fetch
from service.tasks import instances
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.worker import host_discovery
from tests.integration.command_line import DEADLINE, Commands, Done, serving
from tests.integration.fetched_jobs import start_run
from tests.integration.http_helpers import away
from tests.integration.sample_tasks import advance, subtask_ids
from tests.integration.test_discoveries import FOUND

MESSAGE = "Rule: nc is installed. Found: it is missing. Fix: install nc."


@pytest.fixture
async def command(app: Starlette, settings: Settings) -> AsyncIterator[Commands]:
    async with serving(app) as url:
        yield Commands(url, settings.data_dir / "admin-password")


@pytest.fixture
def resources(app: Starlette) -> Resources:
    found: Resources = app.state.resources
    return found


async def watched(app: Starlette, watching: asyncio.Task[Done]) -> None:
    """Wait until a command has opened its event stream."""
    async with asyncio.timeout(DEADLINE):
        while len(app.state.notifications) < 1:
            assert not watching.done(), watching.result()
            await asyncio.sleep(0.01)


async def submit(command: Commands, *hosts: str) -> list[int]:
    """Take hosts over, by their names; return the ids of the task instances."""
    submitted = await command("submit", "test", *hosts)
    assert submitted.status == 0, submitted.errors
    return [int(line) for line in submitted.output.split()]


async def fail(resources: Resources, task_id: int, done: int = 1) -> None:
    roles = resources.workflows[TAKEOVER].roles
    await advance(resources, task_id, roles[:done], roles[done], MESSAGE)


async def manage(command: Commands, resources: Resources, host: str) -> int:
    """Take a host over successfully; return the id of its OBProxy server."""
    (task_id,) = await submit(command, host)
    await advance(resources, task_id, resources.workflows[TAKEOVER].roles)
    task, _ = await instances.get(resources.database, task_id)
    assert task.obproxy_server_id
    return task.obproxy_server_id


async def test_names_stand_for_ids(command: Commands, resources: Resources) -> None:
    (first,) = await submit(command, "odp-1:2884")
    await fail(resources, first)
    subtasks = await subtask_ids(resources, first)

    assert json.loads((await command("show", "odp-1", "-o", "json")).output)["id"] == first
    assert (await command("tasks", "--host", "odp-1")).rows[0]["ID"] == str(first)
    assert (await command("skip", "odp-1", "check process not exist")).status == 4, "it has not failed"
    assert (await command("retry", "odp-1", str(subtasks[1]))).output == f"Task {first} (odp-1): retry accepted.\n"
    unknown = await command("show", "odp-9")
    assert (unknown.status, unknown.errors) == (4, "No host has the name odp-9.")
    assert (await command("submit", "nowhere", "odp-1")).errors == "No OBProxy cluster has the name nowhere."
    assert (await command("show", "odp-2")).errors == "Host odp-2 has no task instance."


async def test_a_list_says_how_much_of_it_is_shown(command: Commands) -> None:
    tasks = await submit(command, "odp-1", "odp-2", "odp-3")

    part = await command("tasks", "--limit", "2")
    assert [row["ID"] for row in part.rows] == [str(tasks[2]), str(tasks[1])]
    assert part.errors == "2 of 3. The next: --page 2. All: --all.\n"
    last = await command("tasks", "--limit", "2", "--page", "2")
    assert [row["ID"] for row in last.rows] == [str(tasks[0])]
    assert last.errors == "1 of 3: page 2 of 2. All: --all.\n"
    everything = await command("tasks", "--limit", "1", "--all")
    assert len(everything.rows) == 3 and everything.errors == ""


async def test_states_have_words_of_their_own(command: Commands, resources: Resources) -> None:
    done, undone, queued = await submit(command, "odp-1", "odp-2", "odp-3")
    await advance(resources, done, resources.workflows[TAKEOVER].roles)
    await fail(resources, undone)
    rolling_back = asyncio.create_task(command("rollback", "odp-2", "--watch"))
    roles = resources.workflows[TAKEOVER].roles
    async with asyncio.timeout(DEADLINE):
        while (await instances.get(resources.database, undone))[0].operation != "ROLLBACK":
            await asyncio.sleep(0.01)
    await advance(resources, undone, [roles[1], roles[0]])
    rolled_back = await rolling_back

    assert rolled_back.status == 0, rolled_back.errors
    assert f"{undone} {(await subtask_ids(resources, undone))[0]} ROLLED_BACK" in rolled_back.output
    assert {row["ID"]: row["STATE"] for row in (await command("tasks")).rows} == {
        **{str(done): "SUCCESSFUL", str(undone): "ROLLED_BACK"},
        str(queued): "QUEUED",
    }
    shown = (await command("show", str(undone))).output
    assert re.search(r"^State: +ROLLED_BACK$", shown, re.MULTILINE)
    assert re.search(r"^\d+ +ROLLED_BACK +[\d.]+ s +Prepare obproxy install$", shown, re.MULTILINE)
    assert re.search(r"^\d+ +PENDING +- +Finish node$", shown, re.MULTILINE)
    async with resources.database.transaction() as connection:
        await execute(connection, "insert_run", ident="0" * 32, task_id=queued, executor=resources.executor)
    assert (await command("tasks")).rows[0]["STATE"] == "RUNNING"


async def test_the_log_is_that_of_the_failed_or_running_subtask(command: Commands, resources: Resources) -> None:
    (task,) = await submit(command, "odp-1")
    await fail(resources, task, done=2)
    assert MESSAGE in (await command("log", "odp-1")).output
    assert "Assert that exactly one OBProxy runs" in (await command("log", str(task), "Prepare obproxy install")).output

    done = await submit(command, "odp-2")
    await advance(resources, done[0], resources.workflows[TAKEOVER].roles)
    nothing = await command("log", "odp-2")
    assert nothing.status == 4 and f"No subtask of task instance {done[0]} runs or has failed." in nothing.errors


@pytest.mark.parametrize("operation", ["retry", "skip"])
@pytest.mark.parametrize("fails", [True, False], ids=["fails", "succeeds"])
async def test_the_exit_status_is_that_of_the_outcome(
    app: Starlette, command: Commands, resources: Resources, operation: str, fails: bool
) -> None:
    (task,) = await submit(command, "odp-1")
    await fail(resources, task)
    roles = resources.workflows[TAKEOVER].roles

    watching = asyncio.create_task(command(operation, "odp-1", "--watch"))
    await watched(app, watching)
    await advance(resources, task, roles[1:3] if fails else roles[1:], roles[3] if fails else "", MESSAGE)
    ended = await watching

    assert ended.status == int(fails), ended.errors
    assert ("Fix: install nc." in ended.errors) == fails


@pytest.mark.parametrize("canceled", [True, False], ids=["canceled", "ended before"])
async def test_a_cancel_succeeds_when_it_was_canceled(
    app: Starlette, command: Commands, resources: Resources, canceled: bool
) -> None:
    (task,) = await submit(command, "odp-1")
    roles = resources.workflows[TAKEOVER].roles
    await advance(resources, task, roles[:-1], running=roles[-1])

    watching = asyncio.create_task(command("cancel", "odp-1", "--watch"))
    await watched(app, watching)
    verdict = Verdict.FAILED if canceled else Verdict.SUCCESSFUL
    await Recorder(resources, task).record([Ended(role=roles[-1], verdict=verdict, code="", message="")])

    assert (await watching).status == int(not canceled)


async def test_a_service_without_its_database_counts_as_unreachable(
    app: Starlette, command: Commands, resources: Resources, postgres: str, database_url: str
) -> None:
    (task,) = await submit(command, "odp-1")
    resources.database.pool.timeout = 0.5  # seconds that a request waits for the database
    watching = asyncio.create_task(command("watch", str(task)))
    await watched(app, watching)

    async with away(postgres, database_url):
        shown = await command("show", str(task))
        assert (shown.status, shown.errors) == (3, "The database does not answer. Try again later.")
        assert not watching.done(), "a watch waits until the service is reachable again"

    resources.database.pool.timeout = CONNECTION_TIMEOUT
    await advance(resources, task, resources.workflows[TAKEOVER].roles)
    assert (await watching).status == 0


async def test_many_hosts_have_a_line_each_and_a_summary(
    app: Starlette, command: Commands, resources: Resources
) -> None:
    tasks = await submit(command, "odp-1", "odp-2", "odp-3")
    watching = asyncio.create_task(command("watch", "odp-1", "odp-2", str(tasks[2])))
    await watched(app, watching)
    await advance(resources, tasks[0], resources.workflows[TAKEOVER].roles)
    for task in tasks[1:]:
        await fail(resources, task)
    ended = await watching

    assert ended.status == 1
    lines = ended.output.splitlines()
    assert lines[:3] == [f"odp-{number} {task} QUEUED" for number, task in enumerate(tasks, 1)]
    assert f"odp-1 {tasks[0]} SUCCESSFUL" in lines
    assert f"odp-2 {tasks[1]} FAILED at Prepare create obproxy" in lines
    assert "3 hosts: 2 FAILED, 1 SUCCESSFUL." in lines
    assert "2 hosts failed at Prepare create obproxy: odp-2, odp-3" in lines
    assert "    Fix:    install nc." in lines
    assert len(lines) < 20, "no log of each host"


async def test_operations_on_a_request_are_watched(app: Starlette, command: Commands, resources: Resources) -> None:
    tasks = await submit(command, "odp-1", "odp-2")
    for task in tasks:
        await fail(resources, task)
    watching = asyncio.create_task(command("request", "retry", "1", "--watch"))
    await watched(app, watching)
    roles = resources.workflows[TAKEOVER].roles
    for task in tasks:
        await advance(resources, task, roles[1:])
    retried = await watching

    assert retried.status == 0, retried.errors
    assert retried.output.splitlines()[0] == "2 accepted, 0 rejected"
    assert "Hosts: 2 SUCCESSFUL." in retried.output


async def test_requests_are_searched(command: Commands, resources: Resources) -> None:
    (failed,) = await submit(command, "odp-1")
    await fail(resources, failed)
    await submit(command, "odp-2")

    async def found(*options: str) -> list[str]:
        return [row["ID"] for row in (await command("requests", *options)).rows]

    assert await found() == ["2", "1"]
    matching = ("--workflow", "takeover", "--cluster", "TES", "--creator", "adm", "--after", "2020-01-01")
    assert await found("--status", "FAILED,STOPPED", *matching) == ["1"]
    assert await found("--host", "odp-2", *matching) == ["2"]
    for other in (("--status", "STOPPED"), ("--before", "2020-01-01T12:30"), ("--workflow", "restart")):
        assert await found(*other) == []


async def test_an_operation_on_several_requests(command: Commands, resources: Resources) -> None:
    for host in ("odp-1", "odp-2"):
        await fail(resources, (await submit(command, host))[0])

    rejected = await command("request", "retry", "99", "1", "2")
    canceled = await command("request", "cancel", "1", "2")

    assert rejected.output.splitlines() == ["Request 1: 1 accepted, 0 rejected", "Request 2: 1 accepted, 0 rejected"]
    assert "Request 99 does not exist." in rejected.errors and rejected.status == 4
    assert len(canceled.output.splitlines()) == 2 and canceled.status == 0


async def test_rejections_are_printed_as_json_instead_of_a_watch(command: Commands, resources: Resources) -> None:
    for host in ("odp-1", "odp-2"):
        await submit(command, host)

    rejected = await command("request", "retry", "1", "2", "--watch", "-o", "json")

    first, second = documents(rejected.output)
    assert [(one["requestId"], one["accepted"], len(one["rejected"])) for one in (first, second)] == [
        (1, [], 1),
        (2, [], 1),
    ]
    assert "RETRY" in first["rejected"][0]["message"] and rejected.status == 4


async def test_a_watch_with_json_reports_rejections_to_standard_error(command: Commands, resources: Resources) -> None:
    first, _ = (await submit(command, "odp-1", "odp-2"))[:2]
    await fail(resources, first)

    canceled = await command("request", "cancel", "1", "--watch", "-o", "json")

    (document,) = documents(canceled.output)
    assert (document["id"], document["status"]) == (1, "FAILED") and canceled.status == 0
    assert canceled.errors.splitlines()[0] == "1 accepted, 1 rejected" and f"odp-1 {first}: " in canceled.errors


def documents(output: str) -> list[dict[str, Any]]:
    """Return the JSON documents of an output, one behind the other."""
    decoder, found = json.JSONDecoder(), []
    while output := output.strip():
        document, end = decoder.raw_decode(output)
        found.append(document)
        output = output[end:]
    return found


async def test_a_canceled_request_is_watched(command: Commands) -> None:
    await submit(command, "odp-1", "odp-2")

    canceled = await command("request", "cancel", "1", "--watch")

    assert canceled.status == 0 and "Hosts: 2 FAILED." in canceled.output


async def test_a_host_that_does_not_start_ends_a_watch(command: Commands, resources: Resources) -> None:
    submitted = await command("submit", "test", "odp-1", "odp-2", "--canary", "1")
    first, second = map(int, submitted.output.split())
    await fail(resources, first)

    ended = await command("watch", str(second))

    assert ended.status == 1


async def test_clusters_servers_and_parameters(command: Commands, resources: Resources) -> None:
    server = await manage(command, resources, "odp-1")

    clusters = (await command("clusters")).rows
    assert (clusters[0]["ID"], clusters[0]["NAME"], clusters[0]["SERVERS"]) == ("1", "test", "1")
    (found,) = (await command("servers", "--cluster", "test")).rows
    assert (found["ID"], found["CLUSTER"], found["HOST"]) == (str(server), "test", "odp-1")
    assert json.loads((await command("servers", "-o", "json")).output)["contents"][0]["id"] == server
    shown = (await command("cluster", "show", "test")).output
    assert "Cluster:" in shown and "odp-1" in shown
    assert json.loads((await command("cluster", "show", "test", "-o", "json")).output)["obproxies"][0]["id"] == server
    assert (await command("cluster", "parameters", "test")).output.startswith("NAME   VALUE   RESTART")


@pytest.mark.parametrize("workflow", ["refresh", "restart", "release"])
async def test_managed_servers_are_named_by_their_hosts(command: Commands, resources: Resources, workflow: str) -> None:
    server = await manage(command, resources, "odp-1")

    submitted = await command(workflow, "test", "odp-1:2883", "-o", "json")

    assert submitted.status == 0, submitted.errors
    (document,) = json.loads(submitted.output)["contents"]
    task, _ = await instances.get(resources.database, document["id"])
    assert (task.obproxy_server_id, task.workflow) == (server, workflow)
    assert (await command(workflow, "test", "odp-2")).errors == "The OBProxy cluster has no server odp-2."


async def test_a_release_by_host_is_repeated_with_its_key_after_its_end(
    command: Commands, resources: Resources
) -> None:
    await manage(command, resources, "odp-1")
    words = ("release", "test", "odp-1:2883", "--idempotency-key", "k")
    first = await command(*words)
    await start_run(resources, int(first.output))
    await advance(resources, int(first.output), resources.workflows[RELEASE].roles)

    again = await command(*words)
    other = await command("release", "test", "odp-2", "--idempotency-key", "k")
    without_key = await command("release", "test", "odp-1")
    await manage(command, resources, "odp-1")
    taken_over_again = await command(*words)

    assert first.output and (again.status, again.output, again.errors) == (0, first.output, "")
    assert other.errors == "The OBProxy cluster has no server odp-2."
    assert without_key.errors == "The OBProxy cluster has no server odp-1."
    assert "k was used for another request" in taken_over_again.errors


async def test_a_wrong_port_with_a_key_stands_for_no_other_server(command: Commands, resources: Resources) -> None:
    await manage(command, resources, "odp-1")

    rejected = await command("release", "test", "odp-1:9999", "--idempotency-key", "k")

    assert rejected.errors == "The OBProxy cluster has no server odp-1:9999."
    assert len((await command("tasks", "--host", "odp-1")).rows) == 1, "nothing is released"


@pytest.mark.parametrize("workflow", ["refresh", "restart", "release"])
async def test_managed_servers_start_in_batches(command: Commands, resources: Resources, workflow: str) -> None:
    for host in ("odp-1", "odp-2"):
        await manage(command, resources, host)
    submitted = await command(workflow, "test", "odp-1", "odp-2", "--batch-size", "1", "-o", "json")
    tasks = [await instances.get(resources.database, each["id"]) for each in json.loads(submitted.output)["contents"]]
    assert [task.held_by for task, _ in tasks] == [None, "ROLLOUT"]


async def test_hosts(command: Commands) -> None:
    assert [row["NAME"] for row in (await command("hosts", "--keyword", "odp-2")).rows] == ["odp-2"]
    assert re.search(r"^Address: +192.0.2.12$", (await command("host", "show", "odp-2")).output, re.MULTILINE)
    assert json.loads((await command("host", "show", "2", "-o", "json")).output)["name"] == "odp-2"


async def test_the_audit(command: Commands) -> None:
    await submit(command, "odp-1")

    events = (await command("audit", "--user-name", "admin")).rows

    assert (events[0]["USER"], events[0]["METHOD"], events[0]["STATUS"]) == ("admin", "POST", "200")
    assert events[0]["PATH"] == "/api/v2/obproxy/clusters/1/takeOver"
    assert (await command("audit", "--user-name", "anne")).rows == []


async def test_the_diagnosis_is_a_zip_or_a_text_for_its_user_alone(
    command: Commands, resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = await submit(command, "odp-1")
    await fail(resources, task)
    monkeypatch.chdir(tmp_path)

    written = await command("diagnosis", "odp-1")
    assert written.output == f"diagnosis-{task}.zip\n"
    archive = (tmp_path / f"diagnosis-{task}.zip").read_bytes()
    assert "task_info.txt" in zipfile.ZipFile(io.BytesIO(archive)).namelist()
    assert (tmp_path / f"diagnosis-{task}.zip").stat().st_mode & 0o777 == 0o600
    assert (await command("diagnosis", "odp-1", "--text")).status == 0
    text = (tmp_path / f"diagnosis-{task}.txt").read_text(encoding="utf-8")
    assert text.startswith("==> task_info.txt <==\n") and MESSAGE in text
    unwritable = await command("diagnosis", "odp-1", "--file", os.devnull + "/x")
    assert unwritable.status == 2 and "The file cannot be written" in unwritable.errors
    assert (await command("diagnosis", "404")).errors == "Task instance 404 does not exist."


async def discovered(resources: Resources, host_id: int, found: HostFindings) -> None:
    """Let a worker record the result of a host's discovery as soon as it is requested."""
    host = (await resources.inventory.current()).hosts[host_id]
    async with asyncio.timeout(DEADLINE):
        while (await discoveries.of_hosts(resources, [host]))[0].state is not DiscoveryState.PENDING:
            await asyncio.sleep(0.01)
    async with resources.database.autocommit() as connection:
        (row,) = await fetch(connection, "database_time")
    await host_discovery._record(resources, host_id, row["moment"], found)


async def test_hosts_are_discovered_by_the_service(command: Commands, resources: Resources) -> None:
    assert [row["STATE"] for row in (await command("discoveries")).rows] == ["NEVER"] * 3
    rule = {"rule": "Exactly one.", "found": "2 of them.", "fix": "stop one."}
    two = {port: FOUND | {"sql_port": port, "rules": [rule]} for port in (2883, 3883)}

    waiting = asyncio.create_task(command("host", "discover", "odp-1", "2"))
    await discovered(resources, 1, HostFindings(token=0, obproxies={2883: FOUND}))
    await discovered(resources, 2, HostFindings(token=0, obproxies=two))
    done = await waiting

    assert (done.status, done.errors) == (0, "")
    assert [(row["HOST"], row["PORT"], row["VERSION"], row["PREVENTED_BY"]) for row in done.rows] == [
        ("odp-1", "2883", "4.3.1.0-1", "-"),
        ("odp-2", "2883", "4.3.1.0-1", "Exactly one"),
        ("odp-2", "3883", "4.3.1.0-1", "Exactly one"),
    ]
    listed = await command("discoveries", "--limit", "1", "-o", "wide")
    assert [row["LOGIN"] for row in listed.rows] == ["denied"] and listed.errors.startswith("1 of 3.")
    document = json.loads((await command("discoveries", "--keyword", "odp-3", "-o", "json")).output)
    assert [each["state"] for each in document["contents"]] == ["NEVER"]


async def test_a_host_that_cannot_be_discovered_ends_with_status_1(command: Commands, resources: Resources) -> None:
    waiting = asyncio.create_task(command("host", "discover"))
    await discovered(resources, 1, HostFindings(token=0, outcome=Outcome.UNREACHABLE, message="no route", rules=[]))
    for host_id in (2, 3):
        await discovered(resources, host_id, HostFindings(token=0))
    done = await waiting

    assert done.status == 1 and done.errors == "1 of 3 hosts cannot be discovered: odp-1"
    assert (done.rows[0]["STATE"], done.rows[0]["PREVENTED_BY"]) == ("UNREACHABLE", "no route")
