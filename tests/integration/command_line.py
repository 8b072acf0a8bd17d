"""Calls commands of the command line against a service, in this process or as a program."""

import asyncio
import itertools
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from typer.testing import CliRunner

from service.cli.errors import ClientError
from service.cli.main import main
from service.model.settings import PROJECT

DEADLINE = 60.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """The exit status and output of a command."""

    status: int
    output: str
    errors: str

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of the first table by the headers of its columns, which are aligned by spaces."""
        assert self.output, self.errors
        header, *lines = itertools.takewhile(bool, self.output.splitlines())
        starts = [match.start() for match in re.finditer(r"\S+", header)]
        columns = list(itertools.pairwise([*starts, None]))
        return [{header[a:b].strip(): line[a:b].strip() for a, b in columns} for line in lines]


class Commands:
    """Calls one command at a time in a thread of this process, which costs a tenth of a program's CPU time."""

    def __init__(self, url: str, password_file: Path) -> None:
        self._environment = {"OBPROXY_TAKEOVER_URL": url, "OBPROXY_TAKEOVER_PASSWORD_FILE": str(password_file)}

    async def __call__(self, *words: str, **variables: str) -> Done:
        async with asyncio.timeout(DEADLINE):
            return await asyncio.to_thread(self._call, words, self._environment | variables)

    def _call(self, words: Sequence[str], environment: Mapping[str, str]) -> Done:
        done = CliRunner().invoke(main, words, env=environment)
        if isinstance(done.exception, ClientError):
            return Done(status=done.exception.exit_status, output=done.stdout, errors=str(done.exception))
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(status=done.exit_code, output=done.stdout, errors=done.stderr)


class Program:
    """Calls `python -m service`, several at a time if need be."""

    def __init__(self, url: str, password_file: Path) -> None:
        self._environment = {"OBPROXY_TAKEOVER_URL": url, "OBPROXY_TAKEOVER_PASSWORD_FILE": str(password_file)}

    async def __call__(self, *words: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | self._environment,
            cwd=PROJECT,
        )
        async with asyncio.timeout(DEADLINE):
            output, errors = await process.communicate()
        assert process.returncode is not None
        return Done(status=process.returncode, output=output.decode(), errors=errors.decode())


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """Serve an application within the block; yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(DEADLINE):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task
