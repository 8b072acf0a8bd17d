"""One run as the worker holds it: its private directory, its child process, its events, its end."""

import asyncio
import logging
import secrets
import shutil
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from service.inventory import environment as inventory_environment
from service.inventory.process import Reading
from service.model.settings import RunStart
from service.outcome.run_progress import RunEnd
from service.runs import child, directories, environment
from service.runs.child import RunSpec
from service.runs.files import Given
from service.runs.process_tree import end_marked

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What to run, and what it is given."""

    ident: str
    playbook: Path
    roles: Sequence[str]
    given: Given
    reading: Reading  # of the inventory
    start: RunStart = "forked"
    token: int = field(default_factory=lambda: secrets.randbits(62), repr=False)
    """Only Ansible's own callback knows it and puts it into every event, as `job_id`.

    See docs/reference/ansible-runner.md E.12.
    """
    renewed: float = field(default_factory=time.monotonic)
    """Monotonic time at which the run was known to be its worker's; its lease counts from then (`child.LEASE`)."""


def sweep() -> None:
    """End what is left of runs whose worker was killed together with them, and remove their directories."""
    for directory in directories.abandoned():
        end_left_over(directory)


class Run:
    """A started run."""

    def __init__(self, spec: RunSpec, reading: Reading) -> None:
        self._spec = spec
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = reading.fork(child.main, (spec,), theirs)
        self.pid = self._process.pid
        """The child's process id."""
        self._reader: threading.Thread | None = None
        self._closed = False
        theirs.close()

    @property
    def ident(self) -> str:
        """Which run this is."""
        return self._spec.ident

    def cancel(self) -> None:
        """Ask for its end; it comes as the last element of `batches`."""
        self._send(None)

    def renew(self, stamp: float) -> None:
        """It was its worker's at `stamp` (monotonic seconds): without another such word it ends (`run_child.LEASE`)."""
        self._send(stamp)

    async def batches(self) -> AsyncGenerator[tuple[list[Mapping[str, Any]], RunEnd | None]]:
        """Events as they come, all that have arrived at once; the last batch carries the end, whatever happened."""
        arrived = self._listen()
        end = None
        while end is None:
            messages = [await arrived.get()]
            while not arrived.empty():
                messages.append(arrived.get_nowait())
            for _, reason in (message for message in messages if message[0] == "plain"):
                log.warning("Run %s was started as a program. %s", self.ident, reason, extra={"action": "run_plain"})
            end = next((value for kind, value in messages if kind == "end"), None)
            if end is not None:
                gone = await self._close()
                end = replace(end, tree_gone=end.tree_gone and gone)
            yield [value for kind, value in messages if kind == "event"], end

    async def end(self) -> None:
        """End it now, whatever it still had to say."""
        self.cancel()
        if self._reader is None:  # with nobody listening, a run that has much to say would never end
            self._listen()
        await self._close()

    def _listen(self) -> asyncio.Queue[child.Message]:
        arrived: asyncio.Queue[child.Message] = asyncio.Queue()
        self._reader = threading.Thread(
            target=_read, args=(self._pipe, asyncio.get_running_loop(), arrived), daemon=True, name="run-events"
        )
        self._reader.start()
        return arrived

    async def _close(self) -> bool:
        """Whether nothing of it is left, as far as this end can know."""
        if self._closed:
            return True
        self._closed = True
        await asyncio.to_thread(self._process.join)
        if self._reader is not None:  # it finds the pipe's other end closed now; under its hands it must not be
            await asyncio.to_thread(self._reader.join)
        self._pipe.close()
        killed = self._process.exitcode != 0
        self._process.close()
        try:
            return await asyncio.to_thread(end_left_over, self._spec.directory) if killed else True
        finally:
            directories.release(self._spec.directory)

    def _send(self, word: float | None) -> None:
        with suppress(OSError):  # it has ended by itself
            self._pipe.send(word)


def start(request: RunRequest) -> Run:
    """Make the private data directory of `request` and start its run."""
    spec = prepare(request)
    try:
        return Run(spec, request.reading)
    except BaseException:
        shutil.rmtree(spec.directory, ignore_errors=True)
        directories.release(spec.directory)
        raise


def prepare(request: RunRequest) -> RunSpec:
    """A fresh private data directory (0700), which the run's child fills, and the scrubbed environment of the run."""
    directory = directories.make()
    return RunSpec(
        ident=request.ident,
        directory=directory,
        playbook=request.playbook,
        roles=tuple(request.roles),
        given=request.given,
        environment={
            **inventory_environment.fixed(),
            **request.reading.environment,
            **environment.of_run(directory, request.ident, request.token),
        },
        start=request.start,
        renewed=request.renewed,
    )


def end_left_over(directory: Path) -> bool:
    """End what a killed run has left and remove its directory; True when no process is left."""
    ((name, value),) = environment.mark(directory).items()
    gone = end_marked(f"{name}={value}", directory)
    shutil.rmtree(directory, ignore_errors=True)
    return gone


def _read(pipe: Connection, loop: asyncio.AbstractEventLoop, arrived: asyncio.Queue[child.Message]) -> None:
    """Carry messages from the child into the loop until the end; a child that dies without one has none to give."""
    kind = ""
    while kind != "end":
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            message = ("end", RunEnd(rc=None, status=None))
        kind = message[0]
        try:
            loop.call_soon_threadsafe(arrived.put_nowait, message)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return
