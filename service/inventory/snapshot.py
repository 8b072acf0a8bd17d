"""Snapshots of the Ansible inventory: each is read once, in a process of its own, and runs are forked from it."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any, cast

from service.inventory import snapshot_process, socket_directory
from service.inventory.records import View
from service.inventory.snapshot_process import INT64, InventorySource
from service.model.errors import InventoryUnreadable
from service.model.settings import PROJECT

READ_TIMEOUT = 120.0  # seconds that reading an inventory may take
PRELOADED = ["service.inventory.fork_server", "service.inventory.snapshot_process", "service.runs.child"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


class ForkedProcess:
    """A process forked from a snapshot process, with the attributes of `multiprocessing.Process`.

    It is no child of this process. The snapshot process writes its process id and its exit status into a pipe.
    """

    def __init__(self, status: int) -> None:
        self._status = status
        self._lock = threading.Lock()
        self.exitcode: int | None = None
        """Exit status; -1 when the snapshot process ended before it could report one."""
        self.pid = self._read_number()
        """Process id."""
        if self.pid is None:
            self.close()
            raise OSError("The process with the inventory has ended, or cannot be forked")

    def join(self) -> None:
        """Wait until the process has ended."""
        with self._lock:
            if self.exitcode is None:
                number = self._read_number()
                self.exitcode = -1 if number is None else number

    def kill(self) -> None:
        """Kill the process, which leads a process group, and all that it has started; nothing if it has just ended."""
        assert self.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._status)

    def _read_number(self) -> int | None:
        written = os.read(self._status, INT64.size)  # a write of this size is atomic
        return int(INT64.unpack(written)[0]) if written else None


class InventorySnapshot:
    """Controls the process with one snapshot of the inventory.

    The process ends when this object is garbage collected and all processes forked from it have ended.
    """

    def __init__(self, source: Path, environment: Mapping[str, str]) -> None:
        self.environment = environment
        """Variables that the settings add to the environment of the snapshot process and of its runs."""
        self._source = source
        self._lock = threading.Lock()
        socket_directory.ensure()
        self._control, theirs = _context.Pipe()
        inventory = InventorySource(path=source.absolute(), playbooks=PROJECT / "playbooks", environment=environment)
        self._process = _context.Process(
            target=snapshot_process.main, args=(inventory, theirs), daemon=True, name="inventory"
        )
        self._process.start()
        theirs.close()
        weakref.finalize(self, self._control.close)

    async def view(self) -> View:
        """Wait until the inventory is read; raises InventoryUnreadable. Must be called first, and only once."""
        try:
            kind, value = await asyncio.to_thread(self._receive, self._control)
        except BaseException:
            self._kill()
            raise
        if kind == "failed":
            raise InventoryUnreadable(reason=value)
        return cast("View", value)

    async def query(self, name: str, *arguments: Any) -> Any:
        """Return the result of a function of `service_view` on this snapshot; raises InventoryUnreadable."""
        return await asyncio.to_thread(self._query, name, arguments)

    def fork(self, target: Callable[..., None], arguments: tuple[Any, ...], pipe: Connection) -> ForkedProcess:
        """Fork a process that calls `target` with `arguments` and this end of a pipe; raises OSError."""
        theirs, status = os.pipe()
        try:
            with self._lock:
                self._control.send_bytes(pickle.dumps((target, arguments)))
                send_handle(self._control, pipe.fileno(), None)
                send_handle(self._control, status, None)
        except BaseException:
            os.close(theirs)
            raise
        finally:
            os.close(status)
        return ForkedProcess(theirs)

    def is_alive(self) -> bool:
        """Return whether the process is alive, so that it can be forked."""
        return self._process.is_alive()

    def _receive(self, connection: Connection) -> tuple[str, Any]:
        if not connection.poll(READ_TIMEOUT):
            raise InventoryUnreadable(reason=f"{self._source}: reading took longer than {READ_TIMEOUT:.0f} s")
        with suppress(EOFError, OSError):
            message: tuple[str, Any] = connection.recv()
            return message
        return "failed", "the process that was reading it has ended"

    def _query(self, name: str, arguments: tuple[Any, ...]) -> Any:
        ours, theirs = _context.Pipe()
        with ours:
            try:
                with theirs:
                    process = self.fork(snapshot_process.answer, (name, arguments), theirs)
            except OSError as error:
                raise InventoryUnreadable(reason=f"{self._source}: {error}") from error
            try:
                kind, value = self._receive(ours)
            except InventoryUnreadable:
                process.kill()
                raise
            finally:
                process.join()
                process.close()
        if kind == "failed":
            raise InventoryUnreadable(reason=value)
        return value

    def _kill(self) -> None:
        """Kill the process and all that it has started."""
        with suppress(OSError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.kill()
