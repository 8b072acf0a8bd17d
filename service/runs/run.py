"""The worker's side of a run: private directory, child process, events, lease renewals and end."""

import asyncio
import logging
import shutil
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from service.inventory import environment as inventory_environment
from service.inventory.snapshot import InventorySnapshot
from service.outcome.run_progress import RunEnd
from service.runs import child, directories, environment
from service.runs.process_tree import terminate_marked
from service.runs.spec import RunSpec

log = logging.getLogger(__name__)


class Run:
    """A started run. Its child process is forked from the process with the inventory snapshot."""

    def __init__(self, spec: RunSpec, snapshot: InventorySnapshot, directory: Path) -> None:
        self.ident = spec.ident
        self.directory = directory
        """Private data directory (0700), empty until the child fills it."""
        self._pipe, theirs = Pipe()
        with theirs:
            arguments = (spec, directory, _environment(spec, snapshot, directory))
            self._process = snapshot.fork(child.main, arguments, theirs)
        self.pid = self._process.pid
        """The child's process id."""
        self._reader: threading.Thread | None = None
        self._closed = False

    def cancel(self) -> None:
        """Request the end of the run. The last element of `batches` reports it."""
        self._send(None)

    def renew(self, renewed: float) -> None:
        """Renew the run's lease, which the worker held at `renewed` (monotonic seconds)."""
        self._send(renewed)

    async def batches(self) -> AsyncGenerator[tuple[list[Mapping[str, Any]], RunEnd | None]]:
        """Yield events in batches of all that have arrived. The last batch, and no other, has the end of the run."""
        arrived = self._start_reader()
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

    async def terminate(self) -> None:
        """End the run now and discard its remaining events."""
        self.cancel()
        if self._reader is None:  # without a reader the pipe fills up, and the child blocks
            self._start_reader()
        await self._close()

    def _start_reader(self) -> asyncio.Queue[child.Message]:
        arrived: asyncio.Queue[child.Message] = asyncio.Queue()
        self._reader = threading.Thread(
            target=_read, args=(self._pipe, asyncio.get_running_loop(), arrived), daemon=True, name="run-events"
        )
        self._reader.start()
        return arrived

    async def _close(self) -> bool:
        """Wait for the child and release its resources; return False when processes of a killed run survive."""
        if self._closed:
            return True
        self._closed = True
        await asyncio.to_thread(self._process.join)
        if self._reader is not None:  # it ends now; the pipe must not be closed while it reads
            await asyncio.to_thread(self._reader.join)
        self._pipe.close()
        killed = self._process.exitcode != 0
        self._process.close()
        try:
            return await asyncio.to_thread(remove_leftovers, self.directory) if killed else True
        finally:
            directories.release(self.directory)

    def _send(self, message: float | None) -> None:
        with suppress(OSError):  # the child has ended
            self._pipe.send(message)


def start(spec: RunSpec, snapshot: InventorySnapshot) -> Run:
    """Make a private data directory and start the run; raises OSError."""
    directory = directories.make()
    try:
        return Run(spec, snapshot, directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        directories.release(directory)
        raise


def remove_orphaned_runs() -> None:
    """Terminate the processes of runs that were killed together with their worker, and remove their directories."""
    for directory in directories.abandoned():
        remove_leftovers(directory)


def remove_leftovers(directory: Path) -> bool:
    """Terminate the processes of a killed run and remove its directory; return whether no process is left."""
    ((name, value),) = environment.process_marker(directory).items()
    gone = terminate_marked(f"{name}={value}", directory)
    shutil.rmtree(directory, ignore_errors=True)
    return gone


def _environment(spec: RunSpec, snapshot: InventorySnapshot, directory: Path) -> dict[str, str]:
    return {
        **inventory_environment.common(),
        **snapshot.environment,
        **environment.for_run(directory, spec.ident, spec.token),
    }


def _read(pipe: Connection, loop: asyncio.AbstractEventLoop, arrived: asyncio.Queue[child.Message]) -> None:
    """Move messages of the child into `arrived`. A child that was killed sends no end: this function adds one."""
    kind = ""
    while kind != "end":
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            message = ("end", RunEnd(rc=None, status=None))
        kind = message[0]
        try:
            loop.call_soon_threadsafe(arrived.put_nowait, message)
        except RuntimeError:  # the event loop is closed
            return
