"""The command line against a running service: commands, output, exit status."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette

from service import __version__
from service.access import access_keys
from service.api import events
from service.model.requests import RequestFilter
from service.model.settings import PROJECT, Settings
from service.model.types import Page
from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Change, Ended, Logged, Started, Verdict
from service.store.database import fetch
from service.tasks import instances, requests
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.integration.command_line import DEADLINE, Commands, Program, serving
from tests.integration.sample_tasks import advance


@pytest.fixture
async def command(app: Starlette, settings: Settings) -> AsyncIterator[Commands]:
    async with serving(app) as url:
        yield Commands(url, settings.data_dir / "admin-password")


@pytest.fixture
async def program(app: Starlette, settings: Settings) -> AsyncIterator[Program]:
    async with serving(app) as url:
        yield Program(url, settings.data_dir / "admin-password")


async def fail_first(resources: Resources, task_id: int) -> int:
    """Fail the first subtask of a task instance; its id."""
    _, subtasks = await instances.get(resources.database, task_id)
    role = subtasks[0].role
    changes: list[Change] = [
        Started(role=role),
        Logged(role=role, text="what it did"),
        Ended(role=role, verdict=Verdict.FAILED, code="TASK_FAILED", message="it broke"),
    ]
    await Recorder(resources, task_id).record(changes)
    return subtasks[0].id


async def test_from_submit_to_control(command: Commands, app: Starlette) -> None:
    resources: Resources = app.state.resources
    submitted = await command("submit", "1", "1:2883", "2")
    assert submitted.status == 0, submitted.errors
    first, second = map(int, submitted.output.split())

    subtask = await fail_first(resources, first)
    watched = await command("watch", str(first))
    assert watched.status == 1
    assert f"{first} {subtask} FAILED Prepare obproxy install" in watched.output.splitlines()
    assert "TASK_FAILED: it broke" in watched.errors

    shown = await command("show", str(first))
    assert f"retry {first} {subtask}" in shown.output and f"rollback {first}" in shown.output
    assert "what it did" in (await command("log", str(first), str(subtask))).output
    assert "it broke" in (await command("log", str(first), str(subtask), "-f")).output

    failed = json.loads((await command("tasks", "--status", "FAILED", "-o", "json")).output)
    assert [document["id"] for document in failed["contents"]] == [first] and failed["page"]["totalElements"] == 1
    assert [row["ID"] for row in (await command("tasks", "--host", "2")).rows] == [str(second)]

    assert (await command("skip", str(first), str(subtask))).status == 0
    detail = json.loads((await command("show", str(first), "-o", "json")).output)
    assert detail["subtasks"][0]["operation"] == "SKIP"


async def test_a_superseded_task_instance_names_the_newer_one(command: Commands, app: Starlette) -> None:
    older = int((await command("submit", "1", "1")).output)
    await fail_first(app.state.resources, older)
    offered = await command("show", str(older))
    assert f"    rollback {older}\n" in offered.output and "uperseded" not in offered.output

    newer = int((await command("submit", "1", "1")).output)

    shown = (await command("show", str(older))).output
    assert f"Superseded by:   task {newer} of the same OBProxy: show {newer}" in shown.splitlines()
    assert not re.search(rf"^ +(retry|skip|rollback|cancel) {older}\b", shown, re.MULTILINE)
    assert "State:           SUPERSEDED" in shown.splitlines()
    assert "uperseded" not in (await command("show", str(newer))).output
    assert json.loads((await command("show", str(older), "-o", "json")).output)["supersededBy"] == newer
    listed = (await command("tasks", "-o", "wide")).rows
    assert [(row["ID"], row["STATE"], row["SUPERSEDED_BY"]) for row in listed] == [
        (str(newer), "QUEUED", "-"),
        (str(older), "SUPERSEDED", str(newer)),
    ]
    refused = await command("rollback", str(older))
    assert refused.status == 4
    assert f"Task instance {older} is superseded: use task instance {newer} " in refused.errors


@pytest.mark.parametrize("streams", [300, 0])
async def test_watches_by_events_and_without_them(
    program: Program, app: Starlette, monkeypatch: pytest.MonkeyPatch, streams: int
) -> None:
    monkeypatch.setattr(events, "STREAM_LIMIT", streams)
    resources: Resources = app.state.resources
    (document,) = json.loads((await program("submit", "1", "1", "-o", "json")).output)["contents"]
    task_id, subtask_id = document["id"], document["subtasks"][0]["id"]
    watching = asyncio.create_task(program("watch", str(task_id)))
    following = asyncio.create_task(program("log", str(task_id), str(subtask_id), "-f"))
    if streams:
        async with asyncio.timeout(DEADLINE):
            while len(app.state.notifications) < 2:
                await asyncio.sleep(0.01)

    await fail_first(resources, task_id)
    watched, followed = await watching, await following

    assert watched.status == 1
    assert f"{task_id} {subtask_id} FAILED Prepare obproxy install" in watched.output.splitlines()
    assert followed.status == 0
    log, _ = await instances.log(resources.database, task_id, subtask_id)
    assert followed.output == log + "\n"


async def test_a_request_from_submit_to_control(command: Commands, app: Starlette) -> None:
    resources: Resources = app.state.resources
    words = ("submit", "1", "1", "2", "3", "--canary", "1", "--max-failures", "0")
    submitted = await command(*words)
    first, *_ = tasks = [int(line) for line in submitted.output.split()]
    assert len(tasks) == 3

    watching = asyncio.create_task(command("request", "watch", "1"))
    async with asyncio.timeout(DEADLINE):
        while len(app.state.notifications) < 1:
            await asyncio.sleep(0.01)
    await fail_first(resources, first)
    watched = await watching

    assert watched.status == 1, watched.errors
    states = [line for line in watched.output.splitlines() if line.startswith("odp-")]
    assert states[0] == f"odp-1 {first} QUEUED"
    assert f"odp-1 {first} FAILED at Prepare obproxy install" in states
    assert f"odp-3 {tasks[2]} NOT_STARTED" in states
    assert "Hosts: 1 FAILED, 2 NOT_STARTED." in watched.output and "it broke" in watched.output

    held = (await command("show", str(tasks[2]))).output
    assert re.search(r"^State: +NOT_STARTED$", held, re.MULTILINE)
    assert re.search(r"^Held: +because too many hosts have failed: request show 1$", held, re.MULTILINE)
    (listed,) = (await command("requests")).rows
    assert (listed["ID"], listed["WORKFLOW"], listed["CLUSTER"], listed["STATE"]) == (
        "1",
        "takeover",
        "test",
        "STOPPED",
    )
    documents = json.loads((await command("requests", "-o", "json")).output)["contents"]
    assert [request["status"] for request in documents] == ["STOPPED"]
    assert [row["STATE"] for row in (await command("request", "show", "1")).rows][:1] == ["FAILED"]
    assert (await command("request", "retry", "1")).output.splitlines()[0] == "3 accepted, 0 rejected"
    document = json.loads((await command("request", "show", "1", "-o", "json")).output)
    assert [host["state"] for host in document["hosts"]] == ["QUEUED", "WAITING", "WAITING"]
    assert (await command("request", "cancel", "1")).output.splitlines()[0] == "3 accepted, 0 rejected"
    rejected = await command("request", "cancel", "1")
    assert rejected.output.splitlines()[0] == "0 accepted, 3 rejected" and rejected.status == 4
    rolled_back = (await command("request", "rollback", "1")).output.splitlines()
    assert rolled_back[0] == "3 accepted, 0 rejected"
    assert "Request 99 does not exist." in (await command("request", "show", "99")).errors


@pytest.mark.parametrize("streams", [300, 0])
async def test_submit_of_several_hosts_watches_the_request(
    command: Commands, app: Starlette, monkeypatch: pytest.MonkeyPatch, streams: int
) -> None:
    monkeypatch.setattr(events, "STREAM_LIMIT", streams)
    resources: Resources = app.state.resources
    watching = asyncio.create_task(command("submit", "1", "1", "2", "--watch"))
    async with asyncio.timeout(DEADLINE):
        while (await requests.page(resources.database, RequestFilter(), Page()))[1] == 0:
            await asyncio.sleep(0.01)
    hosts = await requests.hosts(resources.database, 1)
    await advance(resources, hosts[0].task_id, resources.workflows[TAKEOVER].roles)
    await fail_first(resources, hosts[1].task_id)
    watched = await watching

    assert watched.status == 1
    assert f"odp-1 {hosts[0].task_id} SUCCESSFUL" in watched.output.splitlines()
    assert "Hosts: 1 FAILED, 1 SUCCESSFUL." in watched.output
    assert "1 host failed at Prepare obproxy install: odp-2\n    TASK_FAILED: it broke\n" in watched.output


async def test_a_limit_without_batches_is_named(command: Commands) -> None:
    refused = await command("submit", "1", "1", "--max-failures", "2")

    assert refused.status == 2 and "--max-failures needs --canary or --batch-size" in refused.errors


async def test_signs_with_an_access_key(command: Commands, app: Starlette, tmp_path: Path) -> None:
    resources: Resources = app.state.resources
    key, secret = await access_keys.create(resources.database, resources.secrets, "admin")
    (tmp_path / "secret").write_text(secret.get_secret_value() + "\n", encoding="utf-8")
    signed = {"OBPROXY_TAKEOVER_ACCESS_KEY": key, "OBPROXY_TAKEOVER_PASSWORD_FILE": "/nonexistent"}

    submitted = await command("submit", "1", "1", "2", "--secret-file", str(tmp_path / "secret"), **signed)
    assert submitted.status == 0, submitted.errors
    assert (
        await command("tasks", OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE=str(tmp_path / "secret"), **signed)
    ).status == 0
    assert "--secret-file" in (await command("tasks", **signed)).errors
    former = await command("tasks", OBPROXY_TAKEOVER_SECRET_FILE=str(tmp_path / "secret"), **signed)
    assert former.status == 2
    assert former.errors == (
        "OBPROXY_TAKEOVER_SECRET_FILE is not read any more. Name the file in OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE."
    )


async def test_submits_once_with_a_key_and_with_a_password_of_the_proxy(
    command: Commands, app: Starlette, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("Old#1\n", encoding="utf-8")
    words = ["submit", "1", "1", "--idempotency-key", "k", "--proxysys-password-file", str(tmp_path / "password")]
    first, again = await command(*words), await command(*words)

    assert first.status == again.status == 0, first.errors
    assert first.output == again.output
    resources: Resources = app.state.resources
    async with resources.database.transaction() as connection:
        (row,) = await fetch(connection, "secrets_of_task", task_id=int(first.output))
    assert resources.secrets.decrypt(row["ciphertext"]).get_secret_value() == "Old#1"


@pytest.mark.parametrize(
    ("words", "said"), [([], None), (["--allow-restart"], "true"), (["--no-allow-restart"], "false")]
)
async def test_submits_with_a_restart_permission(command: Commands, words: list[str], said: str | None) -> None:
    (document,) = json.loads((await command("submit", "1", "1", "-o", "json", *words)).output)["contents"]
    assert document["context"]["stringMap"].get("obproxy_allow_restart") == said


async def test_lists_the_hosts(command: Commands) -> None:
    listed = await command("hosts")
    assert "odp-2" in listed.output and "192.0.2.12" in listed.output
    documents = json.loads((await command("hosts", "-o", "json")).output)["contents"]
    assert [host["id"] for host in documents] == [1, 2, 3]


async def test_helps_by_example(command: Commands) -> None:
    general = (await command("--help")).output
    assert "submit test odp-1:2883 --watch" in general
    assert "watch odp-1 odp-2" in (await command("watch", "--help")).output


async def test_completes_in_a_shell() -> None:
    program = "from service.cli.main import main; main(prog_name='obproxy-takeover')"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "_OBPROXY_TAKEOVER_COMPLETE": "complete_bash",
            "COMP_WORDS": "obproxy-takeover wa",
            "COMP_CWORD": "1",
        },
        cwd=PROJECT,
    )
    async with asyncio.timeout(DEADLINE):
        output, _ = await process.communicate()
    assert output.decode().split() == ["watch"]


async def test_the_version_is_that_of_the_package(command: Commands) -> None:
    done = await command("--version")

    assert (done.status, done.output) == (0, f"obproxy-takeover {__version__}\n")


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["submit", "99", "1"], 4, "OBProxy cluster 99 does not exist in the inventory."),
        (["submit", "1", "x:y"], 2, "Each host must be HOST or HOST:SQL_PORT, found: x:y"),
        (["show", "404"], 4, "Task instance 404 does not exist."),
        (["retry", "404", "1"], 4, "Task instance 404 does not exist."),
        (["requests", "--after", "0001-01-01"], 2, "The time must be between the years 2000 and 2200"),
        (["submit", "1", "1", "--idempotency-key", "ü"], 4, "Idempotency-Key must be 1 to 255 printable ASCII"),
        (["log", "1", "5", "-f"], 4, "Task instance 1 does not exist."),
        (["show", "1", "--password-file", "/nonexistent"], 2, "The password cannot be read"),
        (["show", "1", "--url", "http://127.0.0.1:1"], 3, "No response from http://127.0.0.1:1"),
    ],
)
async def test_an_error_is_one_sentence_with_an_exit_status(
    command: Commands, words: list[str], status: int, sentence: str
) -> None:
    done = await command(*words)
    assert done.status == status
    assert sentence in done.errors and "Traceback" not in done.errors
    assert len(done.errors.strip().splitlines()) == 1


async def test_the_program_ends_with_the_sentence_and_the_exit_status(program: Program) -> None:
    done = await program("show", "404")
    assert (done.status, done.output, done.errors) == (4, "", "Task instance 404 does not exist.\n")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("refresh",), "Refresh obproxy"),
        (("restart",), "Restart obproxy"),
        (("restart", "--allow-cold-restart"), "Restart obproxy"),
        (("release",), "Release obproxy"),
    ],
    ids=["refresh", "restart", "cold restart", "release"],
)
async def test_the_workflows_of_managed_servers(
    command: Commands, app: Starlette, words: tuple[str, ...], name: str
) -> None:
    resources: Resources = app.state.resources
    taken = int((await command("submit", "1", "1")).output)
    await advance(resources, taken, resources.workflows[TAKEOVER].roles)
    task, _ = await instances.get(resources.database, taken)

    submitted = await command(words[0], "1", str(task.obproxy_server_id), *words[1:])

    assert submitted.status == 0, submitted.errors
    task, _ = await instances.get(resources.database, int(submitted.output))
    assert task.name == name
    assert task.allows_cold_restart == ("--allow-cold-restart" in words)
    unknown = await command(words[0], "1", "999")
    assert unknown.status == 4 and "OBProxy server 999 does not exist" in unknown.errors
