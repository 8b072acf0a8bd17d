"""The command line against a running service: what a person types, what they see, how it exits."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

from service import instances
from service.events import Change, Ended, Logged, Started, Verdict
from service.recorder import Recorder
from service.resources import Resources
from service.settings import PROJECT, Settings

DEADLINE = 60.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`python -m service` on the service of the test."""

    url: str
    password_file: Path

    async def __call__(self, *words: str) -> Done:
        environment = {
            **os.environ,
            "OBPROXY_TAKEOVER_URL": self.url,
            "OBPROXY_TAKEOVER_PASSWORD_FILE": str(self.password_file),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=PROJECT,
        )
        async with asyncio.timeout(DEADLINE):
            output, errors = await process.communicate()
        assert process.returncode is not None
        return Done(status=process.returncode, output=output.decode(), errors=errors.decode())


@pytest.fixture
async def command(app: Starlette, settings: Settings) -> AsyncIterator[CommandLine]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(DEADLINE):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield CommandLine(url=f"http://127.0.0.1:{port}", password_file=settings.data_dir / "admin-password")
    server.should_exit = True
    await serving


async def fail_first(resources: Resources, task_id: int) -> int:
    """Fail the first subtask of a task instance; its id."""
    _, subtasks = await instances.get(resources.database, task_id)
    role = subtasks[0].role
    changes: list[Change] = [
        Started(role=role),
        Logged(role=role, text="what it did"),
        Ended(role=role, verdict=Verdict.FAILED, code="TASK_FAILED", message="it broke"),
    ]
    await Recorder(resources.database, task_id, "x").record(changes)
    return subtasks[0].id


async def test_from_submit_to_control(command: CommandLine, app: Starlette) -> None:
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

    failed = json.loads((await command("tasks", "--status", "FAILED", "--json")).output)
    assert [document["id"] for document in failed] == [first]
    assert str(second) in (await command("tasks", "--host-id", "2")).output

    assert (await command("skip", str(first), str(subtask))).status == 0
    detail = json.loads((await command("show", str(first), "--json")).output)
    assert detail["subtasks"][0]["operation"] == "SKIP"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["submit", "99", "1"], "OBProxy cluster 99 does not exist in the inventory."),
        (["submit", "1", "x:y"], "Each host must be HOST_ID or HOST_ID:SQL_PORT, found: x:y"),
        (["show", "404"], "Task instance 404 does not exist."),
        (["retry", "404", "1"], "Task instance 404 does not exist."),
        (["show", "1", "--password-file", "/nonexistent"], "The password cannot be read"),
        (["show", "1", "--url", "http://127.0.0.1:1"], "No answer from http://127.0.0.1:1"),
    ],
)
async def test_a_refusal_is_one_sentence(command: CommandLine, words: list[str], sentence: str) -> None:
    done = await command(*words)
    assert done.status == 1
    assert sentence in done.errors and "Traceback" not in done.errors
    assert len(done.errors.strip().splitlines()) == 1
